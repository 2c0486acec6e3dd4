"""Faults 1 and 2: kill -9 of the supervisor in mid-ingest, and on the way from the queue to a process."""

import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from drawn import drawn
from rig import SEVERAL, counted
from waiting import LIMIT_S, times, wait_until

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello
from finetop.core.runtime import crash_points, processes
from finetop.core.runtime.crash_points import DIED, SWITCH


def kill_at_random_moments(rig, kills: int, sides: list[Path]) -> None:
    """Kill it often, while each job writes: with enough time between two kills that some of them are in mid-ingest."""
    moments = random.Random(7)
    for _ in range(kills):
        rig.wait_ready()
        grown = {side: side.stat().st_size + 200 for side in sides}
        wait_until(lambda: all(side.stat().st_size > size for side, size in grown.items()), "they write")  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.25))  # at any moment of ingest
        rig.kill()
        rig.start()
    rig.wait_ready()


def end(rig, name: str) -> None:
    if data.word(rig.ask(GetRun(name)).row.state) == "running":
        rig.ask(Stop(name))
    rig.wait_state(name, "finished", "stopped")


@pytest.mark.parametrize(("kills", "writers"), [(times(200, 15), 1), (times(200, 15), 4)])
def test_kills_at_random_moments_lose_and_double_nothing(cold_rig, survived, kills, writers):
    cold_rig.settings = SEVERAL
    cold_rig.up()
    names = [cold_rig.submit(f"writer-{n}", steps=500_000, pause_s=0.001 * writers) for n in range(writers)]
    sides = [cold_rig.job_folder(name) / "side.txt" for name in names]
    for side in sides:
        wait_until(lambda: side.exists() and side.stat().st_size, "it writes")  # noqa: B023
    kill_at_random_moments(cold_rig, kills, sides)
    total: Counter[str] = Counter()
    for name in names:
        end(cold_rig, name)
        reported, side = cold_rig.told_and_written(name)
        total.update(counted(reported, side))
        total["wrong"] += len(set(reported) - set(side))
        total["wrong"] += cold_rig.ask(GetRun(name)).jobs[0].attempt != 1
    what = f"kill -9 of the supervisor in mid-ingest, {writers} writers"
    survived("1", what, repeats=kills, **total, orphans=len(cold_rig.orphans()))


PLACES = {  # place -> (how often its job may have begun, how the run ends)
    "supervisor-committed": (1, {"finished"}),
    "supervisor-claimed": (1, {"finished"}),
    "supervisor-spawned": (1, {"finished"}),
    "supervisor-told": (1, {"finished"}),
    "keeper-told": (1, {"finished"}),
    "keeper-locked": (1, {"finished"}),
    "keeper-started": (2, {"finished", "lost"}),
    "keeper-handed-over": (2, {"finished", "lost"}),
    "keeper-recorded": (1, {"lost"}),
    "keeper-waited": (1, {"finished"}),
    "keeper-written": (1, {"finished"}),
}
OF_SPARE = {"supervisor-told", "keeper-told", "keeper-handed-over"}
ALWAYS = [("supervisor-claimed", False), ("supervisor-spawned", False), ("keeper-started", False)]


def test_every_place_on_the_way_to_a_process_is_here():
    """All crash points in the source, except those of tests/faults/test_between_effects.py."""
    results = set()
    for file in (Path(crash_points.__file__).parents[1]).rglob("*.py"):
        results |= set(re.findall(r'abort_at\("((?:supervisor|keeper)-[a-z-]+)"\)', file.read_text()))
    assert results == set(PLACES)


def cases():
    for place in PLACES:
        ways = (True,) if place in OF_SPARE else (False,) if place == "keeper-started" else (False, True)
        yield from ((place, spare) for spare in ways)


@pytest.mark.parametrize(("place", "spare"), drawn(cases(), 6, always=ALWAYS))
def test_killed_on_the_way_to_a_process_the_job_runs_once_and_never_twice(cold_rig, survived, place, spare):
    """The supervisor dies, or the first keeper, before, while or after the job's process starts."""
    first = {SWITCH if spare or place.startswith("supervisor") else "FINETOP_TEST_ABORT_KEEPER": place}
    soon = {"FINETOP_TEST_GRACE_S": "4"}  # a late keeper exits
    dying = cold_rig.up(FINETOP_SPARE="1" if spare else "0", **soon, **first)
    keeper_pid = keeper_of_spare(cold_rig) if spare else 0
    submit = cold_rig.submit_to_dying if place.startswith("supervisor") else cold_rig.submit
    name = submit("victim", steps=20, pause_s=0.05 if place == "keeper-recorded" else 0.0)
    if place.startswith("supervisor"):
        assert dying.wait(LIMIT_S) == DIED
        cold_rig.up(**soon)
    elif spare:  # its next keepers would die there too
        wait_until(lambda: not processes.alive(keeper_pid), "its keeper has died")
        cold_rig.restart(**soon)
    row = cold_rig.wait_state(name, "finished", "lost", "failed")
    starts, ends = PLACES[place]
    begun = begun_attempts(cold_rig, name)
    reported, side = cold_rig.told_and_written(name)
    assert len(begun) <= starts
    counts = counted(reported, side)
    counts["doubled"] += len(begun) - len(set(begun))
    survived("2", f"killed at {place}{' (spare)' if spare else ''}", **counts,
             wrong=data.word(row.state) not in ends, orphans=len(cold_rig.orphans()))  # fmt: skip
    if data.word(row.state) == "finished":
        assert side == list(range(1, 21))


def keeper_of_spare(rig) -> int:
    """Wait until a process waits for the next job, and return the pid of its keeper."""
    match = wait_until(
        lambda: re.search(r"process (\d+) waits for the next", rig.ask(Hello()).spare), "a process waits"
    )
    return int(processes.stat_field(int(match[1]), 1) or 0)


def begun_attempts(rig, name: str) -> list[int]:
    """Return the attempts of which a process has come to life, in order."""
    file = rig.job_folder(name) / "events.jsonl"
    event_rows = [events.decode(line).e for line in file.read_bytes().splitlines()] if file.exists() else []
    return [event.attempt for event in event_rows if isinstance(event, events.Started)]
