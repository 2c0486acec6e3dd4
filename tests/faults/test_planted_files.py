"""Pipes, devices, folders and huge files in the places of a home's own files: nothing waits for them or is filled."""

import os
import shutil

import psutil
import pytest
from rig import Rig
from waiting import wait_until

from finetop.core.client.connection import start_supervisor
from finetop.core.errors import EnvironmentTrouble, FinetopError, StoreTrouble
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import FindInLog, GetRun, ReadLog, Runs
from finetop.core.protocol.messages.trash import Clean, Trash
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.rebuild.rebuild import rebuild

HUGE = 1 << 40
BOUND_MIB = 300  # of the supervisor: 95 when it starts, plus the largest record that it reads
OF_RUN = ("run.json", "recipe.yaml")
OF_JOB = (
    "job.json", "events.jsonl", "exit.json", "keeper.json", "attempt", "log.txt", "gpu.json", "ranks/0.json",
)  # fmt: skip
OF_HOME = ("store.json", "spare.json", "spare.log", "app.json", "hosts.sockets.json")


KINDS = {
    "pipe": os.mkfifo,
    "device": lambda place: place.symlink_to("/dev/zero"),
    "folder": lambda place: place.mkdir(),
    "huge": lambda place: place.touch() or os.truncate(place, HUGE),
}


def plant(kind, places):
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        KINDS[kind](place)


def require_well(rig: Rig) -> None:
    """Check that the supervisor answers, and its memory."""
    rig.wait_ready()
    assert rig.ask(Runs()).total >= 1
    rig.ask(Trash())
    held = psutil.Process(rig.processes[-1].pid).memory_info().rss / 2**20
    assert held < BOUND_MIB


@pytest.mark.parametrize("kind", KINDS)
def test_a_supervisor_starts_beside_them_and_answers(rig, kind):
    name = rig.submit("one", steps=3)
    rig.wait_state(name, "finished")
    job, home = rig.job_folder(name), rig.home.root
    rig.kill()
    others = [
        home / place for place in ("runs/0008-alien", "runs/0009-new", "trash/0007-gone", "trash/0006-back")
    ]
    plant(kind, [other / file for other in others for file in (*OF_RUN, "removed.json")])
    plant(kind, [job.parents[1] / file for file in OF_RUN])
    plant(kind, [job / file for file in OF_JOB])
    plant(kind, [home / file for file in OF_HOME])
    rig.start()
    require_well(rig)
    rig.ask(GetRun(name))
    assert rig.ask(ReadLog(name)).text.strip("\0") == ""
    rig.ask(FindInLog(name, text="x"))
    try:
        rig.ask(Clean({}))
    except FinetopError as error:
        assert "trash" in str(error)  # an unreadable file that may name rows still needed
    require_well(rig)


@pytest.mark.parametrize("kind", KINDS)
def test_they_come_while_a_job_runs(cold_rig, kind):
    rig = cold_rig
    rig.up(FINETOP_TEST_KILL_S="3")  # what a keeper can't record, it can't end
    name = rig.submit("one", waits_at=2)
    rig.wait_step(name)
    job = rig.job_folder(name)
    plant(kind, [job / file for file in OF_JOB if file not in ("keeper.json", "attempt")])
    plant(kind, [job.parents[1] / file for file in OF_RUN])
    require_well(rig)
    other = rig.submit("two", waits_at=1)
    assert rig.ask(Runs()).queued == 1
    rig.ask(Kill(name))
    wait_until(lambda: not any("0001-one" in line for line in rig.descendants()), rig.descendants)
    require_well(rig)
    assert rig.ask(GetRun(other))


@pytest.mark.parametrize("kind", KINDS)
def test_rebuild_reads_none_of_them(quiet, kind):
    for name in ("one", "two"):
        quiet.run(name)
    quiet.close()
    plant(kind, [quiet.home.runs / "0001-one" / "run.json", quiet.home.root / "store.json"])
    rebuilt = rebuild(quiet.home)
    assert (rebuilt.runs, rebuilt.left_out[-1].partition(":")[0]) == (1, "0001-one")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
@pytest.mark.parametrize(
    "name", ["supervisor.log", "supervisor.lock", "finetop-home", "finetop.duckdb", "finetop.duckdb.wal"]
)
def test_what_a_supervisor_can_not_be_without_is_refused_in_words(tmp_path, kind, name):
    home = Home(tmp_path / "home")
    prepare(home)
    plant(kind, [home.root / name])
    with pytest.raises((EnvironmentTrouble, StoreTrouble)) as refused:
        if name.startswith("finetop.duckdb"):
            open_store(home.database)
            open_home(home)
        start_supervisor(home)
    assert name in str(refused.value) or str(home.root) in str(refused.value)
