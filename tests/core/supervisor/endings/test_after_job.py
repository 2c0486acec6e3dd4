"""Failed jobs are retried: automatically by kind of failure, with a limit and a wait; and on request."""

import signal
import time
from typing import get_args

import pytest
from still import make_checkpoint

from finetop.core.errors import Refused
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Pause, Retry as RetryRequest, Stop
from finetop.core.protocol.messages.submit import Resume as ResumeRequest
from finetop.core.protocol.runs import Failed, Finished, Lost, Queued, Running, Stopped
from finetop.core.recipe.home_settings import Passing, Resume, Retry, Settings
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.endings import after_job, exit_reason
from finetop.core.supervisor.launchers import ask_job
from finetop.core.supervisor.launchers.launcher import Exit
from finetop.core.supervisor.queue import ready
from finetop.core.supervisor.requests import resume as going_on, retry as requests_retry, stop_pause_kill

KILLED = Failed(2.0, "killed by signal 9", "", 1.0, None, 9, kind="killed")
ENVIRONMENT = Failed(2.0, "the hub does not answer", "Look.", 1.0, 4, kind="environment")
BAD_DATA = Failed(2.0, "rows.jsonl:3: no answer", "", 1.0, 2, kind="bad_data")
REBOOT = Lost(2.0, "the machine restarted", 1.0, kind="restarted")


class Life:
    """A run whose jobs start and end as the test says."""

    def __init__(self, still, name="r"):
        self.still, self.name = still, name
        self.run_id = still.queue(name)
        self.connection = still.supervisor.connection

    @property
    def row(self):
        ready.read(self.still.supervisor)
        ready.ready(self.still.supervisor, time.time())
        return runs.row(self.connection, self.run_id, ready.why(self.still.supervisor))

    @property
    def folder(self):
        return self.still.home.root / self.detail.folder

    @property
    def detail(self):
        return runs.detail(self.connection, self.run_id)

    def start(self, *, trains=True):
        job = jobs.queued(self.connection)[0]
        running = Running(since=1.0)
        with transaction(self.connection):
            jobs.begin_attempt(self.connection, job.id)
            jobs.set_state(self.connection, job.id, running)
            if job.verb == "train":
                runs.set_state(self.connection, self.run_id, running)
            if trains:
                self.connection.execute("UPDATE jobs SET planned = '{\"steps\":9}' WHERE id = ?", [job.id])
        return jobs.live(self.connection)[0]

    def reach(self, step, *, saved=True):
        self.connection.execute("UPDATE runs SET step = ? WHERE id = ?", [step, self.run_id])
        if saved:
            make_checkpoint(self.folder, step, 1000)

    def end(self, state, job=None, **start):
        job = job or self.start(**start)
        after_job.settle(self.still.supervisor, job, state, after_job.onward(self.still.home.root, job))
        return self.row.state

    def resume(self, **changes):
        return going_on.resume(self.still.supervisor, ResumeRequest(self.name, **changes))

    def stop(self):
        stop_pause_kill.stop(self.still.supervisor, Stop(self.name))

    def retry(self):
        return requests_retry.retry(self.still.supervisor, RetryRequest(self.name))


@pytest.fixture
def life(quiet):
    return Life(quiet)


def test_each_kind_of_failure_has_its_tries_and_waits():
    for kind, waits in (
        *((kind, [60, 120]) for kind in ("killed", "crashed", "vanished", "environment", "disk_full")),
        *((kind, [300, 600]) for kind in ("out_of_memory", "gpu_taken")),
        ("restarted", [0, 0, 0]),
        *((kind, []) for kind in ("", "bad_input", "bad_data", "nan", "code", "gpu_out_of_memory")),
    ):
        found = []
        while following := after_job.next_try(Settings(), kind, len(found) + 1, has_moved=False):
            found.append(following.wait_s)
            assert (following.number, following.of) == (len(found) + 1, len(waits) + 1)
        assert found == waits, kind
    by_retry = {kind for kind, rule in after_job.RULES.items() if rule.setting == "retry"}
    assert by_retry == set(get_args(Passing))


def test_settings_say_how_often_how_long_and_after_what():
    def tries(settings, kind="environment", number=1, has_moved=False):
        return after_job.next_try(settings, kind, number, has_moved=has_moved)

    many = Settings(retry=Retry(times=9, wait_s=100, longest_s=500))
    assert [tries(many, number=n).wait_s for n in (1, 2, 3, 4, 9)] == [100, 200, 400, 500, 500]
    assert tries(many, number=9, has_moved=True) == after_job.Try(2, 10, 100.0)  # it came further
    assert tries(Settings(retry=Retry(times=0))) is None
    assert tries(Settings(retry=Retry(not_after=("environment",)))) is None
    careful = Settings(resume=Resume(after_reboot=False, after_crash=False))
    assert [tries(careful, kind) for kind in ("restarted", "killed", "crashed", "vanished")] == [None] * 4
    assert tries(careful) is not None
    assert tries(Settings(retry=Retry(times=0)), "restarted") is not None, "that was not the run's fault"


def test_a_killed_run_goes_on_from_its_newest_checkpoint_in_a_minute(life):
    life.reach(4)
    life.reach(7, saved=False)
    before = time.time()
    state = life.end(KILLED)
    assert isinstance(state, Queued)
    assert (state.because, state.tries, state.held) == ("killed by signal 9", "2nd of 3 tries", False)
    assert before + 60 <= state.next_at <= time.time() + 60
    first, second = life.detail.jobs
    assert first.state == KILLED
    assert second.args["resume"] == {"step": 4, "checkpoint": "checkpoints/step-000004", "anyway": False}
    assert not life.row.needs_you
    life.end(KILLED)
    assert life.row.state.tries == "3rd of 3 tries"
    life.reach(8)
    assert life.end(KILLED).tries == "2nd of 3 tries", "it came to a new checkpoint"
    life.end(KILLED)
    state = life.end(ENVIRONMENT)
    assert (state.cause, state.hint) == ("the hub does not answer", "Look. It was tried 3 times.")
    assert life.row.needs_you
    assert len(life.detail.jobs) == 5
    # who ran before a reboot goes on at once
    rebooted = Life(life.still, "rebooted")
    rebooted.reach(4)
    state = rebooted.end(REBOOT)
    assert (state.tries, state.next_at <= time.time()) == ("2nd of 4 tries", True)
    life.still.supervisor.settings = Settings(resume=Resume(after_reboot=False))
    assert rebooted.end(REBOOT) == REBOOT


def test_what_would_fail_again_or_lose_checkpoints_or_is_taken_out_is_left_to_a_person(life):
    life.end(KILLED)
    life.stop()
    assert (life.row.state, life.row.needs_you) == (KILLED, True)
    weights = Life(life.still, "weights")
    weights.reach(4)
    (weights.folder / "checkpoints" / "step-000004" / "state").rmdir()  # without its trainer's state
    assert weights.end(KILLED) == KILLED
    for state in (BAD_DATA, Failed(2.0, "loss is nan", kind="nan"), Failed(2.0, "TypeError", kind="code")):
        other = Life(life.still, state.kind)
        assert other.end(state) == state
        assert len(other.detail.jobs) == 1


def test_a_try_has_its_turn_now_by_hand(life):
    life.reach(4)
    life.end(KILLED)
    for end in (None, BAD_DATA):
        if end is not None:
            life.end(end)
        answer = life.retry()
        assert (answer.what, answer.step, answer.place) == ("train", 4, 1)
        assert life.row.state.next_at is None
    assert life.row.state.tries == ""
    with pytest.raises(Refused, match="r is queued"):
        life.retry()


def test_a_failed_check_is_tried_again_and_nothing_that_has_not_failed(quiet):
    run_id = quiet.run("r", (5,))
    args = {"step": 5, "checkpoint": "checkpoints/x", "claim": 0}
    quiet.job(run_id, "check", [], Failed(2.0, "no suite", kind="bad_input"), **args)
    answer = requests_retry.retry(quiet.supervisor, RetryRequest("r"))
    assert (answer.what, answer.step) == ("check", 5)
    assert jobs.queued(quiet.supervisor.connection)[0].args == args
    quiet.run("fine", (5,))
    with pytest.raises(Refused, match="fine has finished: nothing in it failed"):
        requests_retry.retry(quiet.supervisor, RetryRequest("fine"))


def test_a_full_disk_is_waited_for(life):
    life.reach(4)
    life.connection.execute(
        "INSERT INTO checkpoints VALUES (?, 1, 4, 'x', 900000000000000, 'full', 1.0)", [life.run_id]
    )
    life.end(Failed(2.0, "disk full", kind="disk_full"))
    assert life.row.state.because == "disk full"
    life.retry()
    assert life.row.state.because == "the disk is full: waits for 1676381 GiB of room"


def finished(life):
    life.reach(9)
    state = Finished(1.0, 2.0)
    assert life.end(state) == state
    if jobs.queued(life.connection):
        life.stop()
    return state


def longer(life):
    recipe = runs.recipe(life.connection, life.run_id)
    return {**recipe, "train": {**recipe["train"], "epochs": 9.0}}


def test_a_refused_resume_leaves_a_finished_run_finished_and_says_why(life):
    state = finished(life)
    before = runs.recipe(life.connection, life.run_id)
    life.resume(recipe=longer(life))
    refusal = Failed(3.0, "nothing is left to do.", "Raise it.", 2.5, 2, kind="bad_input")
    assert life.end(refusal, trains=False) == state
    row = life.row
    assert (row.not_resumed, row.needs_you) == (
        "resuming was refused: nothing is left to do. Raise it.",
        True,
    )
    assert runs.recipe(life.connection, life.run_id) == before
    assert life.detail.jobs[-1].state == refusal
    life.resume(recipe=longer(life))
    assert life.row.not_resumed == ""
    life.stop()
    assert (life.row.state, life.row.not_resumed, life.row.needs_you) == (state, "", False)
    assert runs.recipe(life.connection, life.run_id) == before
    life.resume(recipe=longer(life))
    assert life.end(BAD_DATA) == BAD_DATA, "it trained: the run has failed"
    assert life.row.not_resumed == ""
    # one that can't load is tried again, and then leaves the run as it was
    life = Life(life.still, "away")
    state = finished(life)
    life.resume(recipe=longer(life))
    for tries in ("2nd of 3 tries", "3rd of 3 tries"):
        assert life.end(ENVIRONMENT, trains=False).tries == tries
    assert life.end(ENVIRONMENT, trains=False) == state
    assert life.row.not_resumed.startswith("resuming failed: the hub does not answer")


@pytest.mark.parametrize("asked", ["pause", "rest"])
def test_a_pause_lets_the_run_wait_where_it_stands_in_the_queue(life, asked):
    life.still.queue("later")
    life.reach(4)
    job = life.start()
    with transaction(life.connection):
        ask_job.ask(life.connection, job, asked)
    state = life.end(Stopped(2.0, "pause", 1.0), jobs.live(life.connection)[0])
    if asked == "pause":
        assert (state.because, state.held, state.paused_at, state.place) == ("paused at step 4", True, 4, 2)
        assert life.resume().step == 4
        with pytest.raises(Refused, match="r is queued"):
            life.resume(step=4)
    state = life.row.state
    assert (state.held, state.paused_at, state.place) == (False, None, 1), "ahead of what was queued after it"
    life.stop()
    assert life.row.state == Stopped(2.0, "stop", 1.0)


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [
        ("kill", "stop", "kill"),
        ("kill", "rest", "kill"),
        ("stop", "kill", "kill"),
        ("hung", "stop", "kill"),
        ("hung", "rest", "hung"),
    ],
)
def test_nothing_weaker_replaces_a_kill(life, first, then, stands):
    job = life.start()
    with transaction(life.connection):
        jobs.set_request(life.connection, job.id, first)
    (asked,) = jobs.live(life.connection)
    if then == "stop" and first == "kill":
        said = stop_pause_kill.stop(life.still.supervisor, Stop("r")).message
        assert said == "r is being killed."
    else:
        with transaction(life.connection):
            ask_job.ask(life.connection, asked, then)
    assert jobs.live(life.connection)[0].asked == stands
    if stands == "kill":
        killed = Exit(None, signal.SIGKILL, 2.0, 100)
        state = exit_reason.ending(jobs.live(life.connection)[0], killed, None, [], [], rebooted=False)
        assert (data.word(state), state.how) == ("stopped", "kill")
        with pytest.raises(Refused, match="r is being killed"):
            stop_pause_kill.pause(life.still.supervisor, Pause("r"))


def test_other_settings_for_a_paused_run_and_pausing_what_could_not_go_on_are_refused(life):
    life.reach(4)
    life.end(Stopped(2.0, "pause", 1.0))
    stop_pause_kill.pause(life.still.supervisor, Pause("r"))
    with pytest.raises(Refused, match="Remove it first: finetop stop r"):
        life.resume(recipe=longer(life))
    life.stop()
    life = Life(life.still, "whole")
    recipe = runs.recipe(life.connection, life.run_id)
    recipe["train"]["resumable"] = False
    runs.set_recipe(life.connection, life.run_id, recipe, "m")
    life.start()
    with pytest.raises(Refused, match=r"whole could not be resumed: train\.resumable is false"):
        stop_pause_kill.pause(life.still.supervisor, Pause("whole"))
    assert data.word(life.row.state) == "running"
