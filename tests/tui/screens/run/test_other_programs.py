"""A run that another program trains: what is not known is not shown, and no more is promised than finetop does."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from run_fakes import make_detail

from finetop.core.protocol.events import NO_NUMBERS, NOTHING_READ
from finetop.core.protocol.numbers_from import FilesLeftOut, NumbersFrom, ReadFile
from finetop.core.protocol.runs import AlarmRow, Failed, Finished, JobRow, RunDetail, Running, State, Stopped
from finetop.tui.screens.launch.form import OF_COMMAND, Base, checked, important, open_form, visible
from finetop.tui.screens.run.head import Slow, head_lines, method_words
from finetop.tui.screens.run.keys import next_of
from finetop.tui.screens.run.recipe import recipe_lines
from finetop.tui.screens.run.state import RunData, log_job
from finetop.tui.screens.run.steps import step_lines
from finetop.tui.screens.run.tabs import body_lines
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.runs.pane import pane_lines
from finetop.tui.screens.runs.row import COLUMNS
from finetop.tui.screens.shared import run_status

WORK = Running(1.0, "training")
MADE = Finished(1.0, 2.0)


def detail(
    state: State,
    jobs: tuple[JobRow, ...] = (),
    command: dict[str, Any] | None = None,
    step: int = 0,
    **more: Any,
) -> RunDetail:
    recipe = {
        "method": {"name": "command"}, "check": {"at_end": True, "general": {"suite": "quick"}},
        "command": {"output": None, "run": ["python", "loop.py"], **(command or {})},
    }  # fmt: skip
    facts = {"name": "loop", "model": "?", "method": "command", "objective": "command", "steps": 0, **more}
    known: dict[str, Any] = {"recipe": recipe, "jobs": [*jobs], "planned": {}, "device": "cpu"}
    nothing: dict[str, Any] = {"checkpoints": [], "samples": [], "first_row": [], "data": [], "metrics": {}}
    return make_detail(state, step, left_s=None, **facts, **known, **nothing)


def words(lines: Any) -> str:
    return "\n".join("".join(span[0] for span in line) for line in lines)


def next_words(run: RunDetail) -> str:
    return next_of(ViewState(held=RunData(detail=run)))[1]


def job(number: int, verb: str, state: State) -> JobRow:
    return JobRow(number, verb, state, 1, f"jobs/{number}", 0)


def test_the_head_tells_where_the_numbers_are_from_and_how_much_was_left_out() -> None:
    """On a narrow screen too: before the device and the load."""
    numbers = NumbersFrom(
        [
            ReadFile("stdout", "log.txt", "it is the run's own", ["loss"]),
            ReadFile("csv", "metrics.csv", "command.metrics names it", ["accuracy"], ["loss"]),
        ],
        [FilesLeftOut("trackio", "demo.db", 1, "this program names no run in it")],
    )
    run = msgspec.structs.replace(detail(WORK, step=3), numbers_from=numbers)
    for width in (80, 120):
        head = words(head_lines(run, Slow(0.0, None, "97 % busy"), width, 100.0))
        assert "loss from stdout, others from csv, 1 file left out" in head


def test_the_recipe_tab_has_the_configuration_of_the_program_too() -> None:
    run = msgspec.structs.replace(detail(WORK), numbers_from=NumbersFrom([], [], {"lr": 2e-5, "lora.r": 8.0}))
    shown = words(recipe_lines(run, 80, is_whole=True))
    assert re.search(r"config\.lr +2e-5", shown) and re.search(r"config\.lora\.r +8", shown)


def test_the_base_is_shown_once_it_is_known() -> None:
    assert method_words(detail(WORK)) == "command"
    known = detail(MADE, model="/models/small", method="lora")
    assert method_words(known) == "lora, command on small"
    how = COLUMNS[0].cell
    for kind, word in (("command", "cmd"), ("watched", "watch")):
        assert how(detail(WORK, objective=kind, method=kind).row, 0.0, {}) == word
    assert how(known.row, 0.0, {}) == "lora"


def test_before_the_first_number_it_says_that_there_is_none() -> None:
    assert words([run_status.state_sentence(detail(WORK).row, 2.0)]).endswith("running  no numbers yet")
    head = words(head_lines(detail(WORK), Slow(2.0, None, ""), 80, 2.0))
    assert "running  no numbers yet" in head and "?" not in head
    begun = detail(WORK, step=160)
    assert "running  step 160" in words(head_lines(begun, Slow(2.0, None, ""), 80, 2.0))
    known = detail(WORK, step=160, steps=400)
    assert "running 160 of 400" in words(head_lines(known, Slow(2.0, None, ""), 80, 2.0))
    asked = Running(1.0, "training", asked="stop")
    assert "waiting for its program to end" in words([run_status.state_sentence(detail(asked).row, 2.0)])


@pytest.mark.parametrize("state", [WORK, MADE])
def test_if_nothing_was_recognised_the_screen_says_what_to_do(state: State) -> None:
    run = msgspec.structs.replace(detail(state), alarms=[AlarmRow(NO_NUMBERS, 0, NOTHING_READ, 1.0)])
    run = msgspec.structs.replace(run, row=msgspec.structs.replace(run.row, alarm=NOTHING_READ))
    tab = words(body_lines(ViewState(held=RunData(detail=run)))[0])
    assert " ".join(tab.split()).endswith(f"! NOTHING {NOTHING_READ.removeprefix('nothing ')}")
    if state is WORK:
        assert "NOTHING recognised" in words([run_status.state_sentence(run.row, 2.0)])


@pytest.mark.parametrize(
    ("how", "kept"), [("stop", "what its program saved stays"), ("kill", "what its program had saved stays")]
)
def test_of_a_stopped_one_no_checkpoint_is_promised(how: Any, kept: str) -> None:
    text = words([run_status.state_sentence(detail(Stopped(2.0, how, 1.0)).row, 3.0)])
    assert kept in text and "checkpoint" not in text
    assert "S stops the run after it has saved one" not in words(step_lines(detail(WORK), 0))


def test_a_check_at_its_end_is_promised_only_if_its_output_is_known() -> None:
    assert "is checked at its end" not in next_words(detail(WORK))
    for command in ({"output": "out"}, {"run": ["python", "loop.py", "--output_dir=out"]}):
        assert "is checked at its end" in next_words(detail(WORK, command=command))


def test_its_log_is_the_command_s_unless_its_model_could_not_be_imported() -> None:
    made, imported = job(1, "command", MADE), job(2, "import", MADE)
    check = job(3, "check", MADE)
    assert log_job(detail(MADE, (made, imported, check))) is made
    bad = job(2, "import", Failed(2.0, "no base"))
    assert log_job(detail(MADE, (made, bad))) is bad
    assert log_job(detail(WORK, (made, job(4, "command", WORK)))).id == 4  # type: ignore[union-attr]


def test_launch_shows_the_settings_of_a_command(tmp_path: Any) -> None:
    text = "recipe: 1\nname: mine\ncommand: {run: [python, loop.py, '{lr}'], values: {lr: 1}, output: out}\n"
    form = checked(open_form(Base("mine.yaml", "", text, tmp_path)))
    assert form.problems == () and important(form) is OF_COMMAND
    assert [label for label, _ in visible(form, all_settings=False)] == list(OF_COMMAND.values())


def test_no_samples_are_promised_and_what_it_printed_last_is_not_called_a_fix() -> None:
    state = ViewState(held=RunData(detail=detail(WORK)))
    state.tab = "samples"
    assert "another program writes none" in words(body_lines(state)[0])
    for kind, label in (("code", "last"), ("disk_full", "fix")):
        failed = detail(Failed(2.0, "it failed", "No such file", 1.0, kind=kind)).row
        shown = words(pane_lines(failed, width=80, height=9, now=3.0, spark=""))
        assert f"   {label}" in shown and "No such file" in shown
