"""A run's life under the real supervisor, with real keepers and processes."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import wait_until

from finetop.core.client.connection import start_supervisor
from finetop.core.commands.supervisor import until_ended
from finetop.core.errors import BadInput, NotFound, Refused
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import Curves, EventsSince, GetRun, Runs
from finetop.core.protocol.messages.session import Hello, Shutdown
from finetop.core.runtime.home import prepare
from finetop.core.runtime.locks import take_lock
from finetop.core.runtime.processes import alive


def test_a_run_goes_from_queued_to_finished_with_its_numbers(rig):
    name = rig.submit(steps=30)
    row = rig.wait_state(name, "finished")
    assert (row.step, row.steps) == (30, 30)
    assert row.metrics["loss"] == pytest.approx(1 / 30)
    curve = rig.ask(Curves(name, ["loss"], columns=10, last=30)).curves[0]
    assert curve.column == list(range(10))
    assert max(curve.high) == 1.0
    assert curve.last_step == 30
    steps = rig.ask(EventsSince(name, 25)).steps
    assert [step.step for step in steps] == [26, 27, 28, 29, 30]


def test_runs_wait_for_the_one_slot_and_start_in_order(rig):
    first = rig.submit("first", waits_at=1)
    second, third = rig.submit("second", steps=1), rig.submit("third", steps=1)
    rig.wait_state(first, "running")
    page = rig.ask(Runs())
    places = {row.name: row.state.place for row in page.rows if row.name != first}
    assert places == {"second": 1, "third": 2}
    assert (page.jobs, page.queued, page.total) == ({"train": 1}, 2, 3)
    rig.ask(Kill(first))
    done = [rig.wait_state(name, "finished").state.since for name in (second, third)]
    assert done == sorted(done)


def test_stop_saves_a_checkpoint_and_kill_ends_grandchildren(rig):
    name = rig.submit(steps=100_000, pause_s=0.02)
    rig.wait_step(name)
    rig.ask(Stop(name))
    row = rig.wait_state(name, "stopped")
    assert row.state.how == "stop"
    assert len(rig.ask(GetRun(name)).checkpoints) == 1

    other = rig.submit(waits_at=1, grandchild=True)
    file = rig.job_folder(other) / "grandchild.txt"
    grandchild = int(wait_until(lambda: file.exists() and file.read_text(), "its grandchild"))
    assert alive(grandchild)
    rig.ask(Kill(other))
    assert rig.wait_state(other, "stopped").state.how == "kill"
    assert not alive(grandchild)


def test_a_queued_run_leaves_the_queue_and_an_ended_one_can_not_be_stopped(rig):
    busy = rig.submit("busy", waits_at=1)
    waiting = rig.submit("waiting", steps=1)
    rig.wait_state(busy, "running")
    rig.ask(Stop(waiting))
    assert rig.wait_state(waiting, "stopped").state.how == "cancel"
    with pytest.raises(Exception, match="nothing to kill") as caught:
        rig.ask(Kill(waiting))
    assert caught.value.exit_code == Refused.exit_code


@pytest.mark.parametrize(
    ("end", "cause", "hint"),
    [
        ("die", "killed by signal 9", "memory"),
        ("crash", "exited with code 7", "the loss is a cabbage"),
        ("failed", "bad data", "Mend row 17."),
    ],
)
def test_how_a_run_failed_is_said_in_words(rig, end, cause, hint):
    row = rig.wait_state(rig.submit(steps=3, end=end), "failed")
    assert row.state.cause == cause
    assert hint in row.state.hint
    assert row.step == 3
    assert row.needs_you


def test_garbage_between_events_is_counted_and_left_out(rig):
    name = rig.submit(steps=30, garbage=True)
    rig.wait_state(name, "finished")
    assert [s.step for s in rig.ask(EventsSince(name)).steps] == list(range(1, 31))
    assert rig.ask(GetRun(name)).jobs[0].bad_lines == 8


def test_a_running_job_outlives_its_supervisor_and_is_adopted(cold_rig):
    process = cold_rig.start()
    cold_rig.wait_ready()
    name = cold_rig.submit(steps=40, pause_s=0.01, waits_at=20)
    cold_rig.wait_step(name)
    attempt = cold_rig.ask(GetRun(name)).jobs[0].attempt  # a keeper that needed seconds has a second attempt
    process.send_signal(signal.SIGKILL)
    process.wait()
    cold_rig.start()
    cold_rig.wait_ready()
    (cold_rig.job_folder(name) / "go").touch()
    row = cold_rig.wait_state(name, "finished")
    assert row.step == 40
    assert cold_rig.ask(GetRun(name)).jobs[0].attempt == attempt


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


def test_a_process_that_vanished_with_its_keeper_is_lost_and_no_stranger_is_signalled(rig):
    name = rig.submit(waits_at=1)
    rig.wait_state(name, "running")
    folder = rig.job_folder(name)
    wait_until((folder / "keeper.json").exists, "its keeper")
    facts = json.loads((folder / "keeper.json").read_text())
    os.kill(facts["pid"], signal.SIGKILL)
    os.kill(facts["job_pid"], signal.SIGKILL)
    # the pid now belongs to a stranger: this very test
    (folder / "keeper.json").write_text(json.dumps({**facts, "pid": os.getpid()}))
    row = rig.wait_state(name, "lost")
    (folder / "keeper.json").unlink()
    assert "vanished" in row.state.cause


def test_names_are_found_by_number_and_near_misses_are_suggested(rig):
    name = rig.submit("support-tone", steps=1)
    again = rig.submit("support-tone", steps=1)
    assert again == "support-tone-2"
    number = rig.ask(GetRun(name)).row.id
    assert rig.ask(GetRun(str(number))).row.name == name
    with pytest.raises(BadInput, match="Did you mean support-tone"):
        rig.ask(GetRun("suport-tone"))
    assert NotFound.exit_code == BadInput.exit_code


def test_names_that_can_not_be_are_refused_and_nothing_is_made(rig):
    for name in ("../x", "/etc", "a\0b", "x" * 300, "-rf", "a\nb", "\u202ex", "CON", ""):
        with pytest.raises(BadInput):
            rig.submit(name, steps=1)
    assert list(rig.home.runs.iterdir()) == []
    assert rig.ask(Runs()).total == 0


def test_where_a_home_is_deleted_its_supervisor_and_its_jobs_end_and_leave_nothing(cold_rig):
    cold_rig.start(FINETOP_SPARE="1")
    cold_rig.wait_ready()
    wait_until(lambda: "waits for the next" in cold_rig.ask(Hello()).spare, "its warm process")
    name = cold_rig.submit(waits_at=1, grandchild=True)
    file = cold_rig.job_folder(name) / "grandchild.txt"
    wait_until(lambda: file.exists() and file.read_text(), "its grandchild")
    shutil.rmtree(cold_rig.home.root)
    assert cold_rig.processes[-1].wait() == 0
    wait_until(lambda: not cold_rig.descendants(), cold_rig.descendants)
    assert not cold_rig.home.root.exists()


def test_a_home_that_is_made_anew_is_the_new_supervisors_alone(cold_rig):
    first = cold_rig.start()
    cold_rig.wait_ready()
    old = cold_rig.submit("old", waits_at=1)
    cold_rig.wait_state(old, "running")
    os.kill(first.pid, signal.SIGSTOP)  # it can continue once everything is written again

    def is_gone() -> bool:  # the job is still writing there
        shutil.rmtree(cold_rig.home.root, ignore_errors=True)
        return not cold_rig.home.root.exists()

    wait_until(is_gone, "the home is deleted")
    cold_rig.start()
    cold_rig.wait_ready()
    new = cold_rig.submit("new", steps=3)
    cold_rig.wait_state(new, "finished")
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert [row.name for row in cold_rig.ask(Runs()).rows] == ["new"]
    cold_rig.restart()  # on the same database, with its whole write-ahead log
    assert [row.name for row in cold_rig.ask(Runs()).rows] == ["new"]
    wait_until(lambda: not any("0001-old" in line for line in cold_rig.descendants()), cold_rig.descendants)
