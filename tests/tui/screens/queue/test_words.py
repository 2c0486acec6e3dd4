"""The texts on a waiting run: held, paused, to be retried, or not resumed."""

from __future__ import annotations

import pytest
from tui_fakes import make_check, make_row

from finetop.core.protocol.runs import Finished, Queued, Running, Stopped
from finetop.core.wording.jobs import answer_words
from finetop.tui.screens.runs.pane import pane_lines
from finetop.tui.screens.shared.run_status import forgot, heading_of, mark_of, next_step, state_sentence
from finetop.tui.theme import MARKS

NOW = 1000.0


def row(state, **values):
    return make_row(1, "r", state, **{"step": 412, "steps": 900, **values})


def said(line):
    return "".join(text for text, _ in line).strip()


@pytest.mark.parametrize(
    ("state", "mark", "short", "sentence"),
    [
        (
            Queued(2, "paused at step 412", held=True, paused_at=412), "paused", "paused at step 412",
            "■ paused  at step 412 of 900: resumes from there when released",
        ),
        (Queued(2, "held", held=True), "queued", "held", "○ held  stays in the queue until released"),
        (
            Queued(2, "killed by signal 9", next_at=NOW + 240, tries="2nd of 3 tries"), "queued",
            "2nd of 3 tries in 4 min: killed by signal 9",
            "○ queued  2nd in the queue: 2nd of 3 tries in 4 min: killed by signal 9",
        ),
        (
            Queued(1, "the queue is held"), "queued", "1st, the queue is held",
            "○ queued  1st in the queue: the queue is held",
        ),
    ],
)  # fmt: skip
def test_a_run_that_waits_says_for_what(state, mark, short, sentence):
    run = row(state)
    assert (mark_of(run), heading_of(run)) == (MARKS[mark], "queued")
    assert said(forgot(run, NOW)) == short
    assert said(state_sentence(run, NOW)) == sentence


def test_a_run_that_was_not_resumed_or_whose_target_failed_says_what_to_do():
    run = row(Finished(1.0, 2.0), not_resumed="going on was refused: nothing is left to do.", needs_you=True)
    assert (mark_of(run), heading_of(run)) == (MARKS["alarm"], "needs you")
    assert said(forgot(run, NOW)) == "NOT RESUMED nothing is left to do."
    assert said(state_sentence(run, NOW)) == "! NOT RESUMED nothing is left to do."
    check = make_check("ok", 0.4, worst=[], target={}, target_failed="held.jsonl: no such file.")
    run = row(Finished(1.0, 2.0, "stopped early at step 412: it did not improve"), check=check)
    assert said(forgot(run, NOW)) == "ok -0.4; target failed"
    assert next_step(run) == ("f", "check it again, once check.target is fixed")
    shown = [said(line) for line in pane_lines(run, width=120, height=12, now=NOW, spark="")]
    assert any(line.startswith("target failed: held.jsonl: no such file.") for line in shown)
    assert "ended  stopped early at step 412: it did not improve" in shown


def test_a_model_that_no_check_can_compare_is_not_led_into_a_refusal():
    ended = Finished(2.0, 1.0)
    steps = {
        objective: next_step(row(ended, objective=objective))[0]
        for objective in ("sft", "pretrain", "reward")
    }
    assert steps == {"sft": "f", "pretrain": "n", "reward": "n"}


@pytest.mark.parametrize(
    ("state", "listed", "shown"),
    [
        (Running(1.0), "drift 0.03", "drift 0.03"),
        (Finished(1.0, 2.0), "not checked", "not checked"),
        (Stopped(2.0, "stop"), "not checked", "stopped, not checked"),
        (Stopped(2.0, "cancel"), "", "removed from the queue"),
    ],
)
def test_the_app_and_the_command_line_answer_alike_for_a_run_without_a_check(state, listed, shown):
    run = row(state, metrics={"drift": 0.03})
    assert (answer_words(run), said(forgot(run, NOW))) == (listed, shown)
