"""Launch: several values for a field, the runs they make, and the recipe written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tui_fakes import FakeSupervisor, asked, make_app, mixed_rows, pressed, row_with, shown_app, text_of

from finetop.core.protocol.messages.submit import SubmitSweep
from finetop.core.recipe.load import load_recipe
from finetop.tui.screens.launch import form as forms
from finetop.tui.screens.launch.form import Form, edited, file_base, open_form
from finetop.tui.screens.launch.recipe_file import recipe_path, recipe_text, write
from finetop.tui.screens.launch.screen import PAUSE_S
from finetop.tui.screens.launch.sweep import checked_all, points_of, runs_of, swept
from finetop.tui.screens.runs.screen import RunsScreen


def form_of(folder: Path, **sweeps: str) -> Form:
    """Return a form of mine.yaml with several values in some fields."""
    form = open_form(file_base(folder / "mine.yaml"))
    for key, text in sweeps.items():
        dotted = key.replace("__", ".")
        form = edited(swept(form, dotted, is_swept=True), dotted, text)
    return checked_all(form)


async def at(pilot: Any, key: str) -> None:
    """Open Launch on mine.yaml with the cursor on a setting."""
    await pressed(pilot, "4", "k", "tab")
    pilot.app.screen.state.put_cursor_on(key)
    pilot.app.screen.redraw()


async def test_w_takes_several_values_and_r_queues_a_run_for_each_after_asking(folder: Path) -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake, folder)) as (app, pilot):
        await at(pilot, "train.learning_rate")
        await pressed(pilot, "w", *"5e-6", "enter")
        assert "sweep: 2 values" in row_with(app, "learning rate")
        assert "next  R  queue 2 runs of mine" in text_of(app)
        app.screen.state.put_cursor_on("train.seed")
        await pressed(pilot, "w", *"2, 3", "enter")
        assert "next  R  queue 6 runs of mine" in text_of(app)
        await pressed(pilot, "R")
        assert "Queue 6 runs in the sweep mine?" in text_of(app)
        await pilot.press("escape")
        assert not any(isinstance(request, SubmitSweep) for request in fake.asked)
        await pressed(pilot, "R", "y", within_s=0.3)
        (request,) = asked(fake, SubmitSweep)
        assert [run.name for run in request.runs] == [
            f"mine-lr{rate}-s{seed}" for rate in ("2e-5", "5e-6") for seed in (1, 2, 3)
        ]
        assert {run.recipe["train"]["learning_rate"] for run in request.runs} == {2e-5, 5e-6}
        assert isinstance(app.screen, RunsScreen)
        assert "6 runs are queued. Results: finetop sweep mine" in text_of(app)


async def test_a_wrong_value_is_named_beside_its_field_and_e_writes_the_recipe_asking_before_it_overwrites(
    folder: Path,
) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder), (120, 40)) as (app, pilot):
        await at(pilot, "train.batch_size")
        await pressed(pilot, "w", *"0", within_s=PAUSE_S)
        assert "0: must be 1 or more" in row_with(app, "batch  ")
        await pressed(pilot, "backspace", "8", "enter", "u")
        assert "sweep" not in row_with(app, "batch  ")
        assert "next  R  queue mine" in text_of(app)
        app.screen.state.put_cursor_on("name")
        await pressed(pilot, "enter", "ctrl+u", *"tone", "enter", "e")
        assert "wrote tone.yaml. To queue it: finetop run tone.yaml" in text_of(app)
        assert load_recipe("tone.yaml", cwd=folder).recipe.name == "tone"
        (folder / "tone.yaml").write_text("mine: own\n")
        await pressed(pilot, "e")
        assert "tone.yaml already exists.  Overwrite it?" in text_of(app)
        await pilot.press("escape")
        assert (folder / "tone.yaml").read_text() == "mine: own\n"
        await pressed(pilot, "e", "y")
        assert load_recipe("tone.yaml", cwd=folder).recipe.name == "tone"


def test_values_that_can_not_be_and_more_runs_than_anybody_means_are_refused_in_the_form(
    folder: Path,
) -> None:
    for text in ("1e-5, , 2e-5", "1e-5, 1e-5", "1e-5, [2"):
        form = form_of(folder, train__learning_rate=text)
        assert form.loaded is None
        assert [problem.key for problem in form.problems] == ["train.learning_rate"]
    many = ", ".join(str(number) for number in range(1, 16))
    form = form_of(folder, train__seed=many, train__batch_size=many)
    assert form.loaded is None
    assert "that is 225 runs" in form.problems[0].whole


def test_the_runs_of_a_form_are_those_of_the_command_line(folder: Path) -> None:
    form = form_of(folder, train__learning_rate="1e-5, 5e-6", check__general__suite="quick, core")
    assert runs_of(form) == 4
    assert [point.name for point in points_of(form)] == [
        "mine-lr1e-5-suitequick", "mine-lr1e-5-suitecore", "mine-lr5e-6-suitequick", "mine-lr5e-6-suitecore",
    ]  # fmt: skip


def test_a_built_in_recipe_is_written_as_what_differs_from_it(folder: Path) -> None:
    base = next(base for base in forms.builtin_bases(folder) if base.title == "lora")
    edits = {"name": "tone", "data.train": "faq.jsonl", "method.rank": "8"}
    form = open_form(base, edits)
    text = recipe_text(form, folder)
    data = "data:\n  train:\n  - path: faq.jsonl\n"
    assert text == f"recipe: 1\nextends: lora\nname: tone\n{data}method:\n  rank: 8\n"
    path = recipe_path(form, folder)
    write(path, text, overwrite=False)
    assert form.loaded is not None
    assert load_recipe(str(path)).resolved == form.loaded.resolved
    with pytest.raises(FileExistsError):
        write(path, text, overwrite=False)


def test_a_source_is_shown_and_written_without_its_defaults(folder: Path) -> None:
    base = file_base(folder / "mine.yaml")
    resolved = load_recipe("mine.yaml", cwd=folder).resolved
    assert forms.value_of(open_form(forms.run_base("mine", resolved, folder)), "data.train") == "faq.jsonl"
    columns = "columns: {prompt: question}"
    form = open_form(base, {"data.eval": f"[{{path: faq.jsonl}}, {{path: faq.jsonl, {columns}}}]"})
    written = yaml.safe_load(recipe_text(form, folder))["data"]
    assert written["train"] == [{"path": "faq.jsonl"}]
    assert written["eval"] == [
        {"path": "faq.jsonl"},
        {"path": "faq.jsonl", "columns": {"prompt": "question"}},
    ]


def test_a_run_s_settings_are_written_whole_and_a_sweep_as_its_command(folder: Path) -> None:
    form = form_of(folder, train__learning_rate="1e-5, 5e-6")
    first, _, text = recipe_text(form, folder).partition("\n")
    assert first == "# finetop run mine.yaml --sweep 'train.learning_rate=1e-5,5e-6'"
    (folder / "again.yaml").write_text(text)
    assert form.loaded is not None
    assert load_recipe("again.yaml", cwd=folder).resolved == form.loaded.resolved
