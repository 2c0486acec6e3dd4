"""Fault 2: the supervisor killed between any two of its effects, place by place: nothing is ever left half done.

Each action (tests/faults/dying.py) is repeated, dying at the first place, the second … until it completes. The next
supervisor finds the state from before or after; the run folders hold the same as the database.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import store_rows
from drawn import EACH, drawn, today
from dumping import differences, dump
from dying import MORE
from rig import RECIPE
from still import make_checkpoint, still

from finetop.core.errors import StoreTrouble
from finetop.core.features.export.messages import Export
from finetop.core.features.remedies.messages import Remedy
from finetop.core.models import checkpoint
from finetop.core.protocol import events, runs as data, wire
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.submit import Import, Resume, Stage, Submit, SubmitChain
from finetop.core.protocol.messages.trash import Clean, EmptyTrash, Remove, Restore
from finetop.core.protocol.request import Ask
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.crash_points import DIED
from finetop.core.runtime.home import Home
from finetop.core.store import jobs, run_records, runs
from finetop.core.store.database import migrations, transaction
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.rebuild import rebuild
from finetop.core.supervisor.requests import clean, trash
from finetop.core.supervisor.state import Supervisor

PROGRAM = Path(__file__).with_name("dying.py")
STEPS = (10, 20, 30, 40, 50)
DAY_S = 86_400


@dataclass
class Dying:
    """Processes that do one thing to a home and die on the way."""

    nursery: subprocess.Popen[str]

    def do(self, home: Home, does: str, at: int = 0) -> int:
        assert self.nursery.stdin is not None and self.nursery.stdout is not None
        self.nursery.stdin.write(json.dumps({"home": str(home.root), "does": does, "at": at}) + "\n")
        self.nursery.stdin.flush()
        return int(self.nursery.stdout.readline())


@pytest.fixture(scope="module")
def dying():
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield Dying(process)
    process.communicate()


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A home with runs of each kind: ended, in the trash, waiting, and one whose end was not noticed yet."""
    rig = still(tmp_path_factory.mktemp("pattern") / "home")
    losses = {step: 1.0 / step for step in STEPS}
    rig.run("one", STEPS, size=10, best=20, losses=losses)
    rig.run("two", STEPS, size=10, losses=losses)
    rig.run("gone", STEPS, size=10, losses=losses)
    rig.run("long-gone", (10,), size=10)
    trash.remove(rig.supervisor, Remove(["gone", "long-gone"]))
    mark = rig.home.trash / "0004-long-gone" / trash.REMOVED
    mark.write_text(json.dumps({"at": time.time() - 90 * DAY_S}))
    rig.queue("waits")
    rig.close()
    return rig.home


def request(ask: Ask) -> str:
    return wire.envelope(1, ask).decode()


def recipe(**sections: dict[str, Any]) -> dict[str, Any]:
    resolved = resolve_text(RECIPE).resolved
    return {**resolved, **{key: {**resolved[key], **section} for key, section in sections.items()}}


def stages() -> list[Stage]:
    return [
        Stage("first", recipe()),
        Stage("second", recipe(model={"id": "stage:first"})),
    ]


@dataclass
class Seen:
    """Return what a new supervisor finds in a home, and what of it is impossible."""

    view: dict[str, Any]
    wrong: list[str] = field(default_factory=list)


def look(home: Home) -> Seen:
    """Open a home as the next supervisor does, and compare the store with the disk."""
    connection = open_home(home)
    supervisor = Supervisor(home, connection)
    run_records.write_marked(supervisor.connection, supervisor.home.root)
    results = {}
    wrong = []
    folders = set()
    for run_id, name, folder in connection.execute("SELECT id, name, folder FROM runs").fetchall():
        detail = runs.detail(connection, run_id)
        there = {checkpoint.step_of(saved) for saved in checkpoint.complete(home.root / folder)}
        told = {saved.step for saved in detail.checkpoints}
        metrics = connection.execute("SELECT count(*) FROM metrics WHERE run_id = ?", [run_id]).fetchone()
        wrong += [f"{name}@{step} is not there" for step in told - there]
        folders.add(folder.removeprefix("runs/"))
        own = [(job.verb, data.word(job.state), job.args.get("resume")) for job in detail.jobs]
        results[name] = (data.word(detail.row.state), own, sorted(told), metrics, len(detail.parents))
    on_disk = {folder.name for folder in home.runs.iterdir()}
    wrong += [f"{name}: a folder without its run, or a run without its folder" for name in on_disk ^ folders]
    connection.close()
    bin_ = sorted(saved.name for saved in home.trash.glob("*") if saved.name != trash.GOING)
    wrong += [f"{name} is in the trash and not" for name in set(bin_) & on_disk]
    return Seen({"runs": results, "trash": bin_, "caches": len(list(home.scores.iterdir()))}, wrong)


def told_apart(home: Home) -> list[str]:
    """List the rows that differ in a database rebuilt from the folders."""
    before = dump(home.database)
    copy = Home(home.root.with_name("rebuilt"))
    shutil.copytree(home.root, copy.root)
    try:
        left_out = rebuild.rebuild(copy).left_out
        return left_out + differences(before, dump(copy.database))
    finally:
        shutil.rmtree(copy.root)


def deaths(pattern: Home, home: Home, dying: Dying, does: str) -> Iterator[int]:
    """Do an action on a fresh copy of a home, dying at one place after the other, until it completes (0).

    The first place is one of them, then a fifth of the others, drawn by the day; nightly all.
    """
    at, code, draw = 0, DIED, random.Random(f"{today()} {does}")
    while code == DIED:
        at += 1 if at == 0 or EACH else draw.randint(1, 9)
        shutil.rmtree(home.root, ignore_errors=True)
        shutil.copytree(pattern.root, home.root)
        code = dying.do(home, does, at)
        yield at if code else 0
    assert (code, at > 1) == (0, True), "it was refused, or passes no place"


WHOLE = {
    "submit": Submit(recipe(), RECIPE, "new"),
    "chain": SubmitChain("chain", stages(), RECIPE),
    "resume": Resume("one", step=50, recipe=recipe(train={"epochs": 9})),
    "check": Check("one", 20),
    "stop what waits": Stop("waits"),
    "export": Export("one", "/nowhere/model"),
    "remedy": Remedy("one", 20, ["interpolate"]),
    "import": Import(recipe(objective={"name": data.IMPORTED}), RECIPE, "adopted", "/nowhere/adapter", [1]),
    "rm": Remove(["one"]),
    "trash --restore": Restore("gone"),
    "trash --empty": EmptyTrash(["0003-gone"]),
}


@pytest.mark.parametrize("what", drawn(WHOLE, 3))
def test_what_is_asked_for_is_done_whole_or_not_at_all(pattern, tmp_path, dying, survived, what):
    home = Home(tmp_path / "home")
    does = request(WHOLE[what])
    shutil.copytree(pattern.root, home.root)
    before = look(home).view
    assert dying.do(home, does) == 0
    after = look(home).view
    assert before != after
    lost, wrong, doubled, repeats = [], [], [], 0
    for at in deaths(pattern, home, dying, does):
        repeats += 1
        seen = look(home)
        wrong += [f"{at}: {fault}" for fault in seen.wrong]
        if seen.view != after and (seen.view != before or not at):
            wrong.append(f"{at}: {seen.view}")
        lost += [f"{at}: {row}" for row in told_apart(home)]
        if seen.view == before:
            assert dying.do(home, does) == 0, f"{at}: it can't be asked for again"
            doubled += [] if look(home).view == after else [f"{at}: {look(home).view}"]
    print(*lost, *wrong, *doubled, sep="\n")
    survived("2", f"killed between two effects: {what}", repeats=repeats, lost=len(lost), wrong=len(wrong),
             doubled=len(doubled))  # fmt: skip


@pytest.mark.parametrize("what", ["rm", "clean"])
def test_of_several_each_is_done_or_not_and_asked_again_the_rest_is(pattern, tmp_path, dying, survived, what):
    home = Home(tmp_path / "home")
    shutil.copytree(pattern.root, home.root)
    before = look(home).view
    if what == "rm":
        does = [request(Remove(["one", "two"])), request(Remove(["one"])),
                request(Remove(["two"]))]  # fmt: skip
    else:
        supervisor = Supervisor(home, open_home(home))
        items = asyncio.run(clean.clean(supervisor, Clean({"last": 1}))).items
        supervisor.connection.close()
        assert {item.kind for item in items} == {"checkpoint", "trash"}
        does = [request(Clean({"last": 1}, [item.path for item in items]))] * 2
    assert dying.do(home, does[0]) == 0
    after = look(home).view
    assert before != after
    lost, wrong, repeats = [], [], 0
    for at in deaths(pattern, home, dying, does[0]):
        repeats += 1
        wrong += [f"{at}: {fault}" for fault in look(home).wrong]
        lost += [f"{at}: {row}" for row in told_apart(home)]
        for again in does[1:] if at else ():
            dying.do(home, again)  # refused if it was done
        if look(home).view != after:
            wrong.append(f"{at}: {look(home).view}")
    print(*lost, *wrong, sep="\n")
    survived("2", f"killed between two effects: {what} of several", repeats=repeats, lost=len(lost),
             wrong=len(wrong))  # fmt: skip


def running(home: Home, name: str, *, ended: bool) -> None:
    """Queue a run whose job is running and has written unread events; or has ended since."""
    rig = still(home.root)
    run_id = rig.queue(name)
    connection = rig.supervisor.connection
    job = next(job for job in jobs.queued(connection) if job.run_id == run_id)
    with transaction(connection):
        attempt = jobs.begin_attempt(connection, job.id)
        jobs.set_state(connection, job.id, data.Running(since=5.0, phase=data.STARTING))
        runs.set_state(connection, run_id, data.Running(since=5.0, phase=data.STARTING))
        asked = {**runs.recipe(connection, run_id)["check"], "at_end": True}
        runs.set_recipe(connection, run_id, {**runs.recipe(connection, run_id), "check": asked}, "tiny")
    folder = home.root / job.folder
    folder.mkdir(parents=True)
    make_checkpoint(folder.parents[1], 199, 10)
    job_events = [
        events.Started(1, attempt, 1, "cpu", "float32", {}),
        *(events.metrics(step, {"loss": 1.0 / step}) for step in range(1, 200)),
        events.Checkpoint(199, "checkpoints/step-000199", 10, "full"),
    ]
    store_rows.write(folder / "events.jsonl", *job_events, *([events.Ended("finished")] if ended else []))
    if ended:
        facts = {"attempt": attempt, "code": 0, "signal": None, "ended": 9.0}
        (folder / "exit.json").write_text(json.dumps(facts))
    rig.close()


@pytest.mark.parametrize("what", ["take in events", "end a run"])
def test_a_beat_takes_in_all_once_and_an_end_queues_its_check_once(tmp_path, dying, survived, what):
    pattern, home = Home(tmp_path / "pattern"), Home(tmp_path / "home")
    for number in range(2):
        running(pattern, f"lives-{number}", ended=what == "end a run")
    lost, wrong, doubled, repeats = [], [], [], 0
    for at in deaths(pattern, home, dying, "beat"):
        repeats += 1
        wrong += [f"{at}: {fault}" for fault in look(home).wrong]
        assert dying.do(home, "beat") == 0
        if what == "end a run" or repeats % 4 == 0:
            lost += [f"{at}: {row}" for row in told_apart(home)]
        for name, (word, own, steps, metrics, _) in look(home).view["runs"].items():
            lost += [f"{at}: {name}: {metrics}, {steps}"] if metrics < (199,) or steps != [199] else []
            doubled += [f"{at}: {name}: {metrics}"] if metrics > (199,) else []
            verbs = ["train", "check"] if what == "end a run" else ["train"]
            is_wrong = [verb for verb, _, _ in own] != verbs
            is_wrong |= word != ("finished" if what == "end a run" else "running")
            wrong += [f"{at}: {name} {word} {own}"] if is_wrong else []
    print(*lost, *wrong, *doubled, sep="\n")
    survived("2", f"killed between two effects: {what}", repeats=repeats, written=400, lost=len(lost),
             wrong=len(wrong), doubled=len(doubled))  # fmt: skip


def test_a_rebuild_that_is_killed_leaves_the_old_database_or_the_new_one(pattern, tmp_path, dying, survived):
    home = Home(tmp_path / "home")
    before = dump(pattern.database)
    lost, refused, repeats = [], 0, 0
    for at in deaths(pattern, home, dying, "rebuild"):
        repeats += 1
        try:
            open_home(home).close()
        except StoreTrouble as error:
            refused += 1
            assert "finetop rebuild" in str(error), error
            rebuild.rebuild(home)
        lost += [f"{at}: {row}" for row in differences(before, dump(home.database))]
    assert refused < 3, "only while the files change places"
    print(*lost, sep="\n")
    survived("2", "killed between two effects: rebuild", repeats=repeats, lost=len(lost),
             written=sum(map(len, before.values())))  # fmt: skip


def test_a_migration_that_is_killed_goes_on_from_there(pattern, tmp_path, monkeypatch, dying, survived):
    known = [*migrations(), MORE]
    monkeypatch.setattr("finetop.core.store.database.migrations", lambda: known)
    home = Home(tmp_path / "home")
    shutil.copytree(pattern.root, home.root)
    open_home(home).close()
    before = dump(home.database)
    lost, copies, repeats = [], 0, 0
    for at in deaths(pattern, home, dying, "migrate"):
        repeats += 1
        open_home(home).close()
        lost += [f"{at}: {row}" for row in differences(before, dump(home.database))]
        copies += any(home.root.glob(f"{home.database.name}.before-{MORE[0][:-4]}"))
    print(*lost, sep="\n")
    survived("2", "killed between two effects: migration", repeats=repeats, lost=len(lost),
             written=sum(map(len, before.values())), wrong=repeats - copies)  # fmt: skip
