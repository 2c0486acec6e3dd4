"""A run's life under the real supervisor, with real keepers and processes."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig import SEVERAL
from waiting import wait_until

from finetop.core.client.connection import start_supervisor
from finetop.core.commands.supervisor import until_ended
from finetop.core.errors import BadInput, NotFound, Refused
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import (
    Curves,
    EventsSince,
    FindInLog,
    GetRun,
    Processes,
    ProcessRow,
    ReadLog,
    Runs,
)
from finetop.core.protocol.messages.session import Hello, Shutdown
from finetop.core.runtime.home import prepare
from finetop.core.runtime.locks import take_lock
from finetop.core.runtime.processes import alive


def test_a_run_goes_from_queued_to_finished_or_failed_with_its_numbers_and_words(cold_rig):
    rig = cold_rig
    rig.settings = SEVERAL
    rig.up()
    for name in ("../x", "/etc", "a\0b", "x" * 300, "-rf", "a\nb", "\u202ex", "CON", ""):
        with pytest.raises(BadInput):
            rig.submit(name, steps=1)
    assert list(rig.home.runs.iterdir()) == []
    assert rig.ask(Runs()).total == 0
    assert NotFound.exit_code == BadInput.exit_code

    plain, garbled = rig.submit("plain", steps=30), rig.submit("garbled", steps=30, garbage=True)
    ends = {
        rig.submit(end, steps=3, end=end): facts
        for end, *facts in (
            ("die", "killed by signal 9", "memory"),
            ("crash", "exited with code 7", "the loss is a cabbage"),
            ("failed", "bad data", "Mend row 17."),
        )
    }
    row = rig.wait_state(plain, "finished")
    assert (row.step, row.steps) == (30, 30)
    assert row.metrics["loss"] == pytest.approx(1 / 30)
    curve = rig.ask(Curves(plain, ["loss"], columns=10, last=30)).curves[0]
    assert curve.column == list(range(10))
    assert max(curve.high) == 1.0
    assert curve.last_step == 30
    assert [step.step for step in rig.ask(EventsSince(plain, 25)).steps] == [26, 27, 28, 29, 30]

    # garbage between events is counted and left out
    rig.wait_state(garbled, "finished")
    assert [s.step for s in rig.ask(EventsSince(garbled)).steps] == list(range(1, 31))
    assert rig.ask(GetRun(garbled)).jobs[0].bad_lines == 8

    for name, (cause, hint) in ends.items():
        row = rig.wait_state(name, "failed")
        assert (row.state.cause, row.step, row.needs_you) == (cause, 3, True)
        assert hint in row.state.hint

    # names are found by number, and near misses are suggested
    assert rig.submit("plain", steps=1) == "plain-2"
    assert rig.ask(GetRun(str(rig.ask(GetRun(plain)).row.id))).row.name == plain
    with pytest.raises(BadInput, match="Did you mean plain"):
        rig.ask(GetRun("plian"))

    # no process waits for the next run: that is switched off
    assert not (rig.home.root / "spare.json").exists()
    assert rig.ask(Hello()).spare == "none (FINETOP_SPARE=0)"


def test_runs_wait_for_the_one_slot_start_in_order_and_may_leave_the_queue(rig):
    first = rig.submit("first", waits_at=1)
    second, third, last = (rig.submit(name, steps=1) for name in ("second", "third", "last"))
    rig.wait_state(first, "running")
    page = rig.ask(Runs())
    places = {row.name: row.state.place for row in page.rows if row.name != first}
    assert places == {"second": 1, "third": 2, "last": 3}
    assert (page.jobs, page.queued, page.total) == ({"train": 1}, 3, 4)
    rig.ask(Stop(last))
    assert rig.wait_state(last, "stopped").state.how == "cancel"
    with pytest.raises(Exception, match="nothing to kill") as caught:  # it has ended
        rig.ask(Kill(last))
    assert caught.value.exit_code == Refused.exit_code
    rig.ask(Kill(first))
    done = [rig.wait_state(name, "finished").state.since for name in (second, third)]
    assert done == sorted(done)


@pytest.mark.slow
def test_stop_saves_a_checkpoint_and_kill_ends_grandchildren_of_a_run_that_was_looked_at(rig):
    name = rig.submit(steps=100_000, pause_s=0.02)
    rig.wait_step(name)
    rig.ask(Stop(name))
    row = rig.wait_state(name, "stopped")
    assert row.state.how == "stop"
    assert len(rig.ask(GetRun(name)).checkpoints) == 1

    name = rig.submit("live", steps=400, waits_at=4, grandchild=True)
    grandchild = rig.grandchild_of(name)
    assert alive(grandchild)
    is_looked_at_while_it_lives(rig, name)
    rig.ask(Kill(name))
    assert rig.wait_state(name, "stopped").state.how == "kill"
    assert not alive(grandchild)
    assert rig.ask(Processes(name)).processes == []


def is_looked_at_while_it_lives(rig, name):
    """Its processes are told, its log is searched, and its curves have an axis of time."""

    def both() -> list[ProcessRow]:
        answer = rig.ask(Processes(name)).processes[:2]
        return answer if len(answer) == 2 else []

    keeper, job = wait_until(both, "the keeper and its job")
    assert alive(keeper.pid) and alive(job.pid) and keeper.job == job.job
    assert "keeper" in keeper.command and "/" not in job.command
    assert job.memory_gib is not None and 0.005 < job.memory_gib < 4 and job.threads

    lines = ["step 1/400: loss 1", "no room: Größe 7", "step 3/400: loss 0.5", "NO ROOM again"]
    (rig.job_folder(name) / "log.txt").write_text("\n".join(lines))
    hits = rig.ask(FindInLog(name, text="no room"))
    assert hits.at == [19, len("\n".join(lines[:3]).encode()) + 1] and hits.begin == 0
    (at,) = rig.ask(FindInLog(name, step=2)).at
    assert rig.ask(ReadLog(name, offset=at, limit=6)).text == "step 3"

    rig.wait_step(name, 3)
    answer = rig.ask(Curves(name, ["loss"], columns=10, last=3600, x="time"))
    assert answer.newest > 0 and answer.steps is not None and answer.curves[0].column[0] == 0


def test_a_running_job_outlives_its_supervisor_and_is_adopted_and_one_that_vanished_is_lost(cold_rig):
    cold_rig.up()
    name = cold_rig.submit(steps=40, pause_s=0.01, waits_at=20)
    cold_rig.wait_step(name)
    attempt = cold_rig.ask(GetRun(name)).jobs[0].attempt  # a keeper that needed seconds has a second attempt
    cold_rig.restart()
    (cold_rig.job_folder(name) / "go").touch()
    row = cold_rig.wait_state(name, "finished")
    assert row.step == 40
    assert cold_rig.ask(GetRun(name)).jobs[0].attempt == attempt

    name = cold_rig.submit("vanishes", waits_at=1)
    cold_rig.wait_state(name, "running")
    record = cold_rig.job_folder(name) / "keeper.json"
    wait_until(record.exists, "its keeper")
    facts = json.loads(record.read_text())
    for process in ("pid", "job_pid"):
        os.kill(facts[process], signal.SIGKILL)
    # the pid now belongs to a stranger, which must not be signalled: this very test
    record.write_text(json.dumps({**facts, "pid": os.getpid()}))
    row = cold_rig.wait_state(name, "lost")
    record.unlink()
    assert "vanished" in row.state.cause


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_is_started_as_soon_as_the_one_that_is_ending_lets_go_of_the_home(cold_rig):
    home = cold_rig.home
    prepare(home)
    home.log.touch(0o600)
    held = take_lock(home)
    with ThreadPoolExecutor(1) as starting:
        started = starting.submit(start_supervisor, home)
        wait_until(
            lambda: "another supervisor already runs on this home" in home.log.read_text(), "it was refused"
        )
        os.close(held)
        started.result()
    cold_rig.ask(Shutdown())
    until_ended(home, 0)


def delete_home(rig):
    def is_gone() -> bool:  # a job is still writing there
        shutil.rmtree(rig.home.root, ignore_errors=True)
        return not rig.home.root.exists()

    wait_until(is_gone, "the home is deleted")


@pytest.mark.slow
def test_where_a_home_is_deleted_its_supervisor_and_its_jobs_end_and_leave_nothing(cold_rig):
    cold_rig.up(FINETOP_SPARE="1")
    wait_until(lambda: "waits for the next" in cold_rig.ask(Hello()).spare, "its warm process")
    cold_rig.grandchild_of(cold_rig.submit(waits_at=1, grandchild=True))
    delete_home(cold_rig)
    assert cold_rig.processes[-1].wait() == 0
    wait_until(lambda: not cold_rig.descendants(), cold_rig.descendants)
    assert not cold_rig.home.root.exists()


@pytest.mark.slow
def test_a_home_that_is_made_anew_is_the_new_supervisors_alone(cold_rig):
    first = cold_rig.up()
    old = cold_rig.submit("old", waits_at=1)
    cold_rig.wait_state(old, "running")
    os.kill(first.pid, signal.SIGSTOP)  # it can continue once everything is written again
    delete_home(cold_rig)
    cold_rig.up()
    new = cold_rig.submit("new", steps=3)
    cold_rig.wait_state(new, "finished")
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert [row.name for row in cold_rig.ask(Runs()).rows] == ["new"]
    cold_rig.restart()  # on the same database, with its whole write-ahead log
    assert [row.name for row in cold_rig.ask(Runs()).rows] == ["new"]
    wait_until(lambda: not any("0001-old" in line for line in cold_rig.descendants()), cold_rig.descendants)
