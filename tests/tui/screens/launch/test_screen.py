"""The Launch screen: how it resolves a form, where it shows errors, and what it queues."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from tui_fakes import (
    ROW,
    FakeSupervisor,
    asked,
    make_app,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.plugins import METHODS
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import resolve_text
from finetop.tui.screens.launch.form import builtin_bases, edited, file_base, open_form, source_of, value_of
from finetop.tui.screens.launch.screen import PAUSE_S, LaunchScreen
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "broken.yaml").write_text("recipe: 1\nextends: fulll\n")
    return folder


def base_title(app: Any) -> str:
    return str(app.screen.state.bases[app.screen.state.base_at].title)


async def test_the_form_shows_what_is_missing_a_refusal_puts_the_cursor_there_and_data_is_typed(
    folder: Path,
) -> None:
    (folder / "faq-2.jsonl").write_text(ROW)
    (folder / "deep").mkdir()
    (folder / "deep" / "rows.jsonl").write_text(ROW)
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake, folder)) as (app, pilot):
        await pressed(pilot, "4")
        assert "mine.yaml" in text_of(app) and "broken.yaml" in text_of(app)
        await pressed(pilot, "R")
        assert "▸ data" in row_with(app, "data  ")
        assert "not queued: data.train: needs a data file." in text_of(app)
        await pressed(pilot, "g", "enter", "ctrl+u")
        await pressed(pilot, *"q1", "question_mark", "R", "S")  # letters are text while a field is typed
        assert "q1?RS" in row_with(app, "name ")
        assert "? keys" not in text_of(app)
        await pressed(pilot, "escape", "u")  # esc keeps a valid text, u undoes it
        assert "q1?RS" not in text_of(app)
        assert not asked(fake, Submit)
        # data is typed with tab, looked at, and queued
        app.screen.state.put_cursor_on("data.train")  # type: ignore[attr-defined]
        await pressed(pilot, "enter", "f", "tab")
        assert row_with(app, "data  ").split("data")[1].split()[0] == "faq"
        assert "faq-2.jsonl  faq.jsonl" in text_of(app)
        await pressed(pilot, "ctrl+u", "d", "tab", "tab", "enter")
        assert "deep/rows.jsonl" in row_with(app, "data  ")
        assert "✓ 1 row" in row_with(app, "data  ")
        await pressed(pilot, "enter", "ctrl+u", *"faq.jsonl", "enter")
        assert "✓ 40 rows" in row_with(app, "data  ")
        assert "about 4 steps of 16 rows, then a check on quick" in text_of(app)
        await pressed(pilot, "g", "enter", "ctrl+u", *"tone", "enter", "R")
        (request,) = asked(fake, Submit)
        assert request.name == "tone"
        assert request.recipe["data"]["train"][0]["path"] == str(folder / "faq.jsonl")
        assert resolve_text(request.source, (), folder).resolved == request.recipe
        assert isinstance(app.screen, RunsScreen)
        assert "tone is queued, place 3." in text_of(app)


async def test_errors_show_beside_the_field_when_typing_pauses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_timer, pauses = LaunchScreen.set_timer, []

    def paused(screen: LaunchScreen, delay: float, callback: Callable[[], None]) -> Any:
        return pauses.append(callback) if delay == PAUSE_S else set_timer(screen, delay, callback)

    monkeypatch.setattr(LaunchScreen, "set_timer", paused)
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder)) as (app, pilot):
        await pressed(pilot, "4", "j", "j", "tab")
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        screen.state.put_cursor_on("train.batch_size")
        await pressed(pilot, "enter", "ctrl+u", "0")
        assert "must be 1 or more" not in text_of(app)
        pauses[-1]()
        await settled(pilot)
        assert "must be 1 or more" in row_with(app, "batch  ")
        await pilot.press("ctrl+u", "8")
        pauses[-1]()
        await settled(pilot)
        assert "must be" not in row_with(app, "batch  ")
        assert "recipe: 4" in row_with(app, "batch  ")
        # one that can't be used goes with esc
        await pressed(pilot, "enter", "enter", *"x", "escape")
        assert "batch          8 " in row_with(app, "batch  ") and "must be" not in text_of(app)
        assert "train.batch_size is as before: 8x can't be used." in text_of(app)


async def test_data_of_several_sources_are_words_and_at_200_columns_each_recipe_says_what_it_is_for(
    folder: Path,
) -> None:
    sources = "{path: faq.jsonl, share: 0.3}, {path: faq.jsonl}"
    (folder / "mine.yaml").write_text(f"recipe: 1\nextends: lora\ndata: {{train: [{sources}]}}\n")
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder), (200, 50)) as (app, pilot):
        await pressed(pilot, "4")
        assert "low-rank adapters" in row_with(app, "▸ lora ")
        await pressed(pilot, "g", "j")
        assert "2 sources: faq.jsonl, share 0.3; faq.jsonl" in row_with(app, "data   ")
        await pressed(pilot, "tab", "j", "j")
        assert "faq.jsonl, share 0.3   faq.jsonl" in text_of(app)
        # the first row breaks between words
        said = " ".join(["forget-me-not"] * 90)
        (folder / "long.jsonl").write_text(ROW.replace("Ahoy!", said))
        await pressed(pilot, "enter", "ctrl+u", *"long.jsonl", "enter", within_s=0.2)
        rows = text_of(app).split("first row")[1].split("── plan")[0].splitlines()[1:-1]
        assert len(rows) > 2
        words = {word.strip("…") for row in rows for word in row.strip("│├ ").split()[4:]}
        assert words - {""} == {"forget-me-not"}


async def test_n_fills_the_form_from_a_run(folder: Path) -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake, folder)) as (app, pilot):
        await pressed(pilot, "n")
        assert "as support-full-1e-4" in text_of(app)
        assert "epochs         3" in text_of(app)
        assert "✓ 252 rows" in row_with(app, "data  ") or "rows" in row_with(app, "data  ")
        await pressed(pilot, "R")
        assert asked(fake, Submit)[0].recipe["train"]["epochs"] == 3.0


async def test_code_of_a_model_is_asked_about_by_name(folder: Path) -> None:
    model = "model: {id: other/model, trust_remote_code: true}"
    (folder / "mine.yaml").write_text(
        f"recipe: 1\nextends: lora\n{model}\ndata: {{train: [{{path: faq.jsonl}}]}}\n"
    )
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake, folder)) as (app, pilot):
        await pressed(pilot, "4", "k")
        assert "✗ runs Python code that comes with other/model" in text_of(app)
        await pressed(pilot, "R")
        assert "Run Python code that comes with other/model?" in text_of(app)
        assert not asked(fake, Submit)
        await pressed(pilot, "y")
        assert len(asked(fake, Submit)) == 1


async def test_of_a_command_no_first_row_is_shown_and_no_data_is_checked(folder: Path) -> None:
    text = "recipe: 1\nname: mine\ncommand: {run: [python, loop.py], output: out}\n"
    (folder / "mine.yaml").write_text(text)
    async with shown_app(make_app(FakeSupervisor([]), folder)) as (app, pilot):
        await pressed(pilot, "4", "k", "L")
        assert "another program, started as it is" in text_of(app) and "first row" not in text_of(app)
        assert "the command reads its own data: nothing to check here." in text_of(app)


def test_a_form_without_edits_keeps_the_text_it_came_from(folder: Path) -> None:
    form = open_form(file_base(folder / "mine.yaml"))
    assert form.loaded is not None
    assert form.loaded.recipe.name == "mine"
    assert resolve_text(source_of(form), (), folder).resolved == form.loaded.resolved


def test_text_settings_are_taken_as_typed_and_a_model_that_can_not_be_is_told_at_its_field(
    folder: Path,
) -> None:
    base = builtin_bases(folder)[0]
    for text in ("a: b", "null", "'x", "ok"):
        form = edited(open_form(base), "about", text)
        opened = open_form(base, {**form.edits, "data.train": "faq.jsonl"})
        assert opened.loaded is not None and opened.loaded.recipe.about == text
    for text in ("a: b", "'x", "  "):
        form = edited(open_form(base), "model.id", text)
        opened = open_form(base, {**form.edits, "data.train": "faq.jsonl"})
        assert [problem.key for problem in opened.problems] == ["model.id"]


async def test_all_errors_are_named_at_once_all_settings_are_there_and_a_file_says_its_fault(
    folder: Path,
) -> None:
    form = open_form(builtin_bases(folder)[0], {"train.batch_size": "0", "data.train": "gone.jsonl"})
    assert {problem.key for problem in form.problems} == {"train.batch_size", "data.train[0].path"}
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder)) as (app, pilot):
        await pressed(pilot, "4", "tab")
        app.screen.state.put_cursor_on("train.batch_size")  # type: ignore[attr-defined]
        await pressed(pilot, "enter", "ctrl+u", "0", "enter")
        assert "fix 2 settings: data, batch" in text_of(app)
        await pressed(pilot, "R")
        message = row_with(app, "not queued")
        assert "data.train: needs a data file; train.batch_size: must be 1" in message
        await pressed(pilot, "v", "G")
        assert "▸ trainer_args" in text_of(app)
        await pilot.press("v", "tab", *["k"] * 9)  # the user's own files come first
        assert base_title(app) == "broken.yaml"
        await settled(pilot)
        assert "✗ extends: there is no recipe 'fulll'. Did you mean full?" in text_of(app)
        assert "broken.yaml can't be used" in text_of(app)
        await pressed(pilot, "R")
        assert "not queued" in text_of(app)


def test_a_setting_that_another_field_drops_is_shown_as_it_will_run(folder: Path) -> None:
    text = "recipe: 1\nextends: lora\ntrain: {max_steps: 30}\ndata: {train: [{path: faq.jsonl}]}\n"
    (folder / "steps.yaml").write_text(text)
    form = open_form(file_base(folder / "steps.yaml"))
    assert value_of(form, "train.max_steps") == "30"
    form = open_form(form.base, {**form.edits, "train.epochs": "3"})
    assert form.loaded is not None and form.loaded.recipe.train.max_steps is None
    assert value_of(form, "train.max_steps") in ("", "null")


async def test_a_recipe_is_searched_by_its_name_and_a_setting_by_its_words(folder: Path) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder)) as (app, pilot):
        await pressed(pilot, "4")
        before = base_title(app)
        await pressed(pilot, "slash", *"qlora")
        assert (base_title(app), app.screen.state.part) == ("qlora", "recipes")  # type: ignore[attr-defined]
        assert "mine.yaml" not in text_of(app), "only what matches is listed"
        await pressed(pilot, "escape")
        assert base_title(app) == before and "mine.yaml" in text_of(app)
        await pressed(pilot, "slash", *"mine", "enter")
        assert base_title(app) == "mine.yaml" and "broken.yaml" in text_of(app)
        await pressed(pilot, "slash", *"lora", "down", "enter")
        assert base_title(app) == "qlora", "the name itself is first, arrows go on"
        await pressed(pilot, "tab", "slash", *"dpo", "enter")
        assert (base_title(app), app.screen.state.part) == ("dpo", "recipes")  # type: ignore[attr-defined]
        # a setting by its words
        await pressed(pilot, "slash", *"lora", "enter")
        await pressed(pilot, "slash", *"weight_decay")
        assert row_with(app, "▸ train.weight_decay").endswith(" 0")
        assert "train.epochs" not in text_of(app)
        await pressed(pilot, "enter")
        assert row_with(app, "▸ train.weight_decay").endswith(" 0")
        assert any(re.search(r"│ +\d+ of \d+$", row) for row in text_of(app).splitlines()), "it goes on"
        await pilot.press("slash", *"no such thing")
        assert "no recipe or setting matches 'no such thing'" in text_of(app)
        assert "no setting has that name" in text_of(app)
        await pressed(pilot, "escape")
        assert row_with(app, "▸ train.weight_decay").endswith(" 0")


async def test_what_is_typed_stays_with_its_recipe_which_is_marked_and_the_data_goes_along(
    folder: Path,
) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), folder), (120, 40)) as (app, pilot):
        await pressed(pilot, "4")
        await pressed(pilot, "slash", *"rank", "enter", "enter", "ctrl+u", *"64", "enter")
        await pressed(pilot, "slash", *"learning_rate", "enter", "enter", "ctrl+u", *"1e-5", "enter", "tab")
        assert "lora *  2 changed" in text_of(app)
        await pressed(pilot, "j")
        form = app.screen.state.form  # type: ignore[attr-defined]
        assert form.base.title == "qlora" and not form.edits, "another recipe is as it says"
        assert "lora *" in text_of(app)
        await pressed(pilot, "k")
        form = app.screen.state.form  # type: ignore[attr-defined]
        assert form.edits == {"method.rank": "64", "train.learning_rate": "1e-5"}
        assert "lora *  2 changed" in text_of(app)
        # the data goes along to a recipe that names none
        await pressed(pilot, "enter", "enter", *"faq.jsonl", "enter", "tab", "j")
        assert base_title(app) == "qlora"
        assert value_of(app.screen.state.form, "data.train") == "faq.jsonl"
        await pressed(pilot, "slash", *"demo-lora", "enter")
        assert value_of(app.screen.state.form, "data.train") != "faq.jsonl"


def test_a_recipe_stands_below_what_it_is_about(folder: Path) -> None:
    groups = {base.title: base.group for base in builtin_bases(folder)}
    assert groups["dora"] == "Which weights"
    assert groups["dpo"] == "What is learned"
    assert groups["approaches"] == "Side by side", "it is no kind of weights"
    assert groups["protected"] == "What protects"
    which = {title for title, group in groups.items() if group == "Which weights"}
    assert which <= set(METHODS.names())
