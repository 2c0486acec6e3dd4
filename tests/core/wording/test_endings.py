"""How runs end, in words: the question before, and the state afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from finetop.core.protocol.runs import CheckpointRow, Finished, Queued, RunDetail, Running, RunRow, Stopped
from finetop.core.wording.endings import kill_confirmation, state_word, stop_confirmation, trash_confirmation


def detail(state: Any, step: int = 820, saved: tuple[int, ...] = (), **more: Any) -> RunDetail:
    row = RunRow(
        id=1, name="r16", model="m", method="lora", objective="sft", created=0.0, step=step, steps=1200, state=state,
        metrics={}, check=None, **{"checking": None, "needs_you": False, **more},
    )  # fmt: skip
    checkpoints = [CheckpointRow(at, f"checkpoints/{at}", 1, "adapter", 0.0) for at in saved]
    return RunDetail(row, "0001", {}, "", [], checkpoints, [], [], [], [], [], "cpu", {}, {})


@pytest.mark.parametrize(
    ("how", "word"),
    [("stop", "stopped"), ("kill", "killed"), ("pause", "paused"), ("cancel", "removed from the queue")],
)
def test_a_run_that_was_ended_on_request_says_how(how, word):
    assert state_word(Stopped(1.0, how)) == word
    assert state_word(Finished(0.0, 1.0)) == "finished"


def test_before_a_run_ends_it_is_asked_with_what_is_kept_and_lost():
    running, done = Running(0.0), Finished(0.0, 1.0)
    for asking, words in (
        (stop_confirmation(detail(running)), "Stop r16?  It saves step 820 first."),
        (stop_confirmation(detail(running, step=0)), "Stop r16?  It has no step to save yet."),
        (stop_confirmation(detail(Queued(1))), "Remove r16 from the queue?  It stays at step 820."),
        (
            stop_confirmation(detail(Queued(1), step=0)),
            "Remove r16 from the queue?  Nothing of it has run yet.",
        ),
        (
            stop_confirmation(detail(done, checking=running)),
            "Stop the check of r16?  No verdict; scores so far are kept.",
        ),
        (
            stop_confirmation(detail(done, checking=Queued(1))),
            "Remove the check of r16 from the queue?  It has not started.",
        ),
        (
            kill_confirmation(detail(running, saved=(400, 800))),
            "Kill r16?  20 steps lost: step 800 is saved.",
        ),
        (kill_confirmation(detail(running)), "Kill r16?  820 steps lost: nothing is saved."),
        (
            kill_confirmation(detail(Queued(1), step=0)),
            "Remove r16 from the queue?  Nothing of it has run yet.",
        ),
    ):
        assert str(asking) == words


def other(state: Any, objective: str, step: int = 12, **more: Any) -> RunDetail:
    """A run of another program: started by us (command), or not (watched)."""
    whole = detail(state, step=step, **more)
    row = structs.replace(whole.row, objective=objective, method=objective)
    recipe = {"command": {"stop_signal": "SIGINT", "grace_s": 90.0}}
    return structs.replace(whole, row=row, recipe=recipe)


def test_of_another_program_it_is_said_what_ends_and_nothing_of_checkpoints_that_finetop_does_not_write():
    running, done = Running(0.0), Finished(0.0, 1.0)
    for asking, words in (
        (
            stop_confirmation(other(running, "command")),
            "Stop r16?  It gets SIGINT, and 90 s to end.",
        ),
        (
            stop_confirmation(other(Queued(1), "command", step=0)),
            "Remove r16 from the queue?  Nothing of it has run yet.",
        ),
        (stop_confirmation(other(Queued(1), "command")), "Remove r16 from the queue?  It stays at step 12."),
        (
            stop_confirmation(other(done, "command", checking=running)),
            "Stop the check of r16?  No verdict; scores so far are kept.",
        ),
        (kill_confirmation(other(running, "command")), "Kill r16?  What its program has not saved is lost."),
        (stop_confirmation(other(running, "watched")), "Stop watching r16?  Its program goes on."),
        (kill_confirmation(other(running, "watched")), "Stop watching r16?  Its program goes on."),
    ):
        assert str(asking) == words


def test_before_runs_go_to_the_trash_their_size_is_said():
    assert str(trash_confirmation(["a"], "3.0 MB")) == "Move a to the trash?  3.0 MB"
    assert str(trash_confirmation(["a", "b"], "3.0 MB")) == "Move 2 runs to the trash?  3.0 MB"
