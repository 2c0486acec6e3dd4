"""How runs end, in words: the question before, and the state afterwards."""

from run_fakes import make_detail

from finetop.core.protocol.runs import CheckpointRow, Finished, Queued, Running, Stopped
from finetop.core.wording.endings import kill_confirmation, state_word, stop_confirmation, trash_confirmation

RUNNING, DONE, WAITING = Running(0.0), Finished(0.0, 1.0), Queued(1)
COMMAND = {"command": {"stop_signal": "SIGINT", "grace_s": 90.0}}
NOT_RUN = "Remove r16 from the queue?  Nothing of it has run yet."
CHECKED = "Stop the check of r16?  No verdict; scores so far are kept."


def detail(state, step=820, saved=(), **more):
    checkpoints = [CheckpointRow(at, f"checkpoints/{at}", 1, "adapter", 0.0) for at in saved]
    return make_detail(state, step, name="r16", checkpoints=checkpoints, **more)


def other(state, objective, step=12, **more):
    """Return a run of another program: started by us (command), or not (watched)."""
    return detail(state, step, objective=objective, method=objective, recipe=COMMAND, **more)


def test_a_run_that_was_ended_on_request_says_how():
    names = {"stop": "stopped", "kill": "killed", "pause": "paused", "cancel": "removed from the queue"}
    assert {how: state_word(Stopped(1.0, how)) for how in names} == names
    assert state_word(DONE) == "finished"


def test_before_a_run_ends_it_is_asked_with_what_is_kept_and_lost():
    for run, question in (
        (detail(RUNNING), "Stop r16?  It saves step 820 first."),
        (detail(RUNNING, step=0), "Stop r16?  It has no step to save yet."),
        (detail(WAITING), "Remove r16 from the queue?  It stays at step 820."),
        (detail(WAITING, step=0), NOT_RUN),
        (detail(DONE, checking=RUNNING), CHECKED),
        (detail(DONE, checking=WAITING), "Remove the check of r16 from the queue?  It has not started."),
        (other(RUNNING, "command"), "Stop r16?  It gets SIGINT, and 90 s to end."),
        (other(WAITING, "command", step=0), NOT_RUN),
        (other(WAITING, "command"), "Remove r16 from the queue?  It stays at step 12."),
        (other(DONE, "command", checking=RUNNING), CHECKED),
        (other(RUNNING, "watched"), "Stop watching r16?  Its program goes on."),
    ):
        assert str(stop_confirmation(run)) == question
    for run, question in (
        (detail(RUNNING, saved=(400, 800)), "Kill r16?  20 steps lost: step 800 is saved."),
        (detail(RUNNING), "Kill r16?  820 steps lost: nothing is saved."),
        (detail(WAITING, step=0), NOT_RUN),
        (other(RUNNING, "command"), "Kill r16?  What its program has not saved is lost."),
        (other(RUNNING, "watched"), "Stop watching r16?  Its program goes on."),
    ):
        assert str(kill_confirmation(run)) == question


def test_before_runs_go_to_the_trash_their_size_is_said():
    assert str(trash_confirmation(["a"], "3.0 MB")) == "Move a to the trash?  3.0 MB"
    assert str(trash_confirmation(["a", "b"], "3.0 MB")) == "Move 2 runs to the trash?  3.0 MB"
