"""Fault 2: the protocol of supervisor, keepers and store, explored in a model; real processes repeat its deaths."""

import contextlib
import os
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from drawn import today
from explore import explore
from protocol_model import KEEPER_PLACES, PLACES, Job, Rules, State, Supervisor
from rig import Rig, counted
from waiting import times, wait_until

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime import crash_points
from finetop.core.runtime.crash_points import DIED, SWITCH

WISHES = {"stop": Stop, "kill": Kill}
FAULT, LATE = {"faults": 1, "asks": 0}, {"faults": 0, "asks": 0, "retries": 0, "late_keepers": True}
BROKEN = {  # rules of the protocol -> what is explored without them, and what goes wrong then
    "clears": (FAULT, "marked lost, and its process lives"),
    "is_atomic": (FAULT, "not how the file begins"),
    "looks_twice": (FAULT, "marked lost, which it is not"),
    "looks_after_trace": (FAULT, "marked lost, which it is not"),
    "forgets_missed": (FAULT, "marked lost, and its process lives"),
    "any_event_counts": (
        {"faults": 2, "asks": 0, "kinds": frozenset({"full", "reboot"})},
        "no way leads on",
    ),
    "fails_as_asked": (
        {"faults": 3, "kinds": frozenset({"keeper"}), "wishes": frozenset({"stop"})},
        "asked to stop, and is tried again",
    ),
    "revokes": (LATE, "started again in the same file"),
    "claims": (LATE, "started again in the same file"),
    # the second and third rule behind `revokes`: each suffices if the other is missing
    "revokes numbered_exit claim_unlinks": (LATE, "marked finished, and its process lives"),
}


@pytest.mark.parametrize(
    "bounds", [FAULT, {"faults": 0}, LATE, pytest.param({"faults": 2, "asks": 0}, marks=pytest.mark.nightly),
               {**LATE, "faults": 1, "kinds": frozenset({"supervisor"})}]
)  # fmt: skip
def test_whatever_happens_in_whichever_order_nothing_is_wrong_and_a_way_leads_on(record_property, bounds):
    seen = explore(Rules(**bounds))
    record_property("explored", seen.words)
    assert seen.is_whole and not seen.wrong, seen.words


@pytest.mark.parametrize("depth", [times(1000, 22)])
def test_two_faults_and_a_wish_in_whichever_order_do_no_harm(record_property, depth):
    seen = explore(Rules(faults=2), depth=depth)  # nightly all there are, 130 deep: five minutes
    record_property("explored", seen.words)
    assert seen.depth >= 22 and not seen.wrong, seen.words


LARGE = {"any_event_counts", "fails_as_asked"}  # 300,000 states each


@pytest.mark.parametrize(
    "rules", [pytest.param(rules, marks=[pytest.mark.nightly] if rules in LARGE else []) for rules in BROKEN]
)
def test_without_its_rules_the_protocol_fails(rules):
    bounds, wrong = BROKEN[rules]
    seen = explore(Rules(**bounds, **dict.fromkeys(rules.split(), False)), only=wrong if " " in rules else "")
    assert wrong in seen.wrong, seen.words


class Trace(NamedTuple):
    """Who dies where: supervisors, one after the other; the first keeper of each; and the requests meanwhile."""

    supervisors: tuple[str, ...] = ()
    keeper: str = ""
    wish: str = ""

    @property
    def name(self) -> str:
        return "+".join([*self.supervisors, *filter(None, (self.keeper, self.wish))])

    @property
    def start(self) -> State:
        own = Supervisor(keeper_dies=self.keeper)
        return State(supervisor=own, deaths=self.supervisors, keeper_dies=self.keeper)

    @property
    def rules(self) -> Rules:
        wishes = frozenset(filter(None, [self.wish]))
        return Rules(faults=0, asks=len(wishes), wishes=wishes, retries=0)


class Outcome(NamedTuple):
    """How a run ended: its state word, how many attempts wrote events, and the last event."""

    word: str
    begun: int
    last: str


def outcome_of(job: Job) -> Outcome:
    events = [event if event in ("finished", "stopped") else "begun" for _, event in job.events]
    return Outcome(job.word, len({attempt for attempt, _ in job.events}), events[-1] if events else "")


@cache
def ends(trace: Trace) -> set[tuple[int, int, Outcome]]:
    """Explore how a run may end: how many of these have died then, how many requests were made, and the outcome."""
    seen = explore(trace.rules, trace.start)
    assert not seen.wrong, seen.words
    over = (seen.states[number] for number in seen.over)
    places = len(trace.supervisors)
    return {(places - len(state.deaths), state.asks, outcome_of(state.jobs[-1])) for state in over}


def traces() -> Iterator[Trace]:
    """Yield each place alone and each pair, with each request; those whose deaths can't all happen are left out."""
    supervisors, keepers = PLACES.values(), KEEPER_PLACES.values()
    for wish in ("", *WISHES):
        yield from (Trace((), keeper, wish) for keeper in keepers)
        yield from (Trace((place,), "", wish) for place in supervisors)
    for wish in ("", *WISHES):
        yield from (Trace((place,), keeper, wish) for keeper in keepers for place in supervisors)
        yield from (Trace((place, second), "", wish) for place in supervisors for second in supervisors)


QUICK = {Trace(("supervisor-committed", "end-noticed"), "", "stop")}


SLOW = int(os.environ.get("FINETOP_TEST_TRACES", "12"))  # traces that are executed in a run of all faults


def cases() -> Iterator[object]:
    """Yield the quick traces, and a number of others drawn by the day."""
    others = [trace for trace in traces() if trace not in QUICK]
    random.Random(today()).shuffle(others)
    for trace in [*sorted(QUICK), *others[:SLOW]]:
        yield pytest.param(trace, id=trace.name)


def test_each_place_of_the_model_is_one_of_the_product():
    sources = Path(crash_points.__file__).parents[1].rglob("*.py")
    there = {name for file in sources for name in re.findall(r'abort_at\("([a-z-]+)"\)', file.read_text())}
    assert {*PLACES.values(), *KEEPER_PLACES.values()} <= there


@pytest.mark.parametrize("trace", cases())
def test_real_processes_that_die_there_come_to_what_the_model_allows(cold_rig, survived, trace):
    if all(deaths < len(trace.supervisors) for deaths, _, _ in ends(trace)):
        pytest.skip("the model never comes to all of these places")
    name, asks = live_through(cold_rig, trace)
    real, died = outcome(cold_rig, name), len(cold_rig.processes) - 1
    # On a slow machine the keeper that should die may come too late, and be refused before it does.
    lived = [trace] if not trace.keeper or has_died(cold_rig, name) else [trace, trace._replace(keeper="")]
    allowed = {
        one
        for way in lived
        for deaths, asked, one in ends(way)
        if deaths >= min(died, len(trace.supervisors)) and asked in asks
    }
    reported, side = cold_rig.told_and_written(name)
    survived("2", f"killed at {trace.name}", **counted(reported, side), orphans=len(cold_rig.orphans()))
    assert real in allowed, (real, allowed, cold_rig.about(name))


def has_died(rig: Rig, name: str) -> bool:
    """Return whether the last keeper of a run left no record of how its job ended."""
    return not (rig.job_folder(name) / "exit.json").exists()


def live_through(rig: Rig, trace: Trace) -> tuple[str, set[int]]:
    """Run a run under supervisors that die. Return its name, and how many requests were made."""
    deaths = [*trace.supervisors, ""]
    start(rig, trace, deaths.pop(0))
    rig.wait_ready()
    name = rig.submit_to_dying("victim", steps=20, pause_s=0.02)
    asks = {0}

    def is_over() -> bool:
        nonlocal asks
        if rig.processes[-1].poll() == DIED:
            start(rig, trace, deaths.pop(0))
            rig.wait_ready()
        with contextlib.suppress(NoSupervisor):
            row = rig.ask(GetRun(name)).row
            is_time = len(rig.processes) > 1 or not trace.supervisors
            if trace.wish and is_time and asks == {0} and data.word(row.state) == "running":
                asks = {0, 1}  # it may die before it answers
                try:
                    rig.ask(WISHES[trace.wish](name))
                except NoSupervisor:
                    return False
                except FinetopError:  # it has ended meanwhile
                    asks = {0}
                else:
                    asks = {1}
            return data.word(row.state) not in ("queued", "running") and rig.processes[-1].poll() is None
        return False

    wait_until(is_over, lambda: f"it ends; {rig.home.log.read_text()}")
    if "end-settled" in trace.supervisors:  # a death there may come when the run is already over
        rig.restart()
    return name, asks


def start(rig: Rig, trace: Trace, place: str) -> None:
    """Start a supervisor that dies at a place, and whose first keeper dies at its own."""
    own = {"FINETOP_SPARE": "0", "FINETOP_TEST_GRACE_S": "6", SWITCH: place}
    rig.start(**own, **({"FINETOP_TEST_ABORT_KEEPER": trace.keeper} if trace.keeper else {}))


def outcome(rig: Rig, name: str) -> Outcome:
    """Read how the run has ended, and the events in its job's own file."""
    begun, last = 0, ""
    file = rig.job_folder(name) / "events.jsonl"
    for line in file.read_bytes().splitlines() if file.exists() else []:
        event = events.decode(line).e
        begun += isinstance(event, events.Started)
        last = event.status if isinstance(event, events.Ended) else "begun"
    return Outcome(data.word(rig.ask(GetRun(name)).row.state), begun, last)
