"""Columns and tags are picked from a list, searched by letters, and a new one is added by typing its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from tui_fakes import FakeSupervisor, asked, make_app, mixed_rows, shown_app, text_of, typed

from finetop.core.protocol.messages.notes import Note, Tag
from finetop.tui.screens.pick import PickPage, is_expression
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (100, 30)


def rows_with(app: Any, words: str) -> list[str]:
    return [row for row in text_of(app).splitlines() if words in row]


def tagged() -> FakeSupervisor:
    rows = mixed_rows()
    tags = {0: ["keep"], 1: ["draft", "keep"], 2: ["sweep/lr"]}
    return FakeSupervisor([replace(row, tags=tags.get(at, [])) for at, row in enumerate(rows)])


async def test_a_tag_is_picked_dropped_or_named_anew() -> None:
    fake = tagged()
    async with shown_app(make_app(fake), SIZE) as (app, pilot):
        await typed(pilot, "t")
        assert isinstance(app.screen, PickPage)
        assert "space pick" in text_of(app).splitlines()[-1]
        assert rows_with(app, "[x] keep")
        assert rows_with(app, "[ ] draft")
        assert not rows_with(app, "sweep/lr"), "that a sweep gives"
        await typed(pilot, "space", "down", "space")
        assert rows_with(app, "[ ] keep")
        assert rows_with(app, "[x] draft")
        await typed(pilot, *"paper")
        assert rows_with(app, "[ ] paper")
        await typed(pilot, "space")
        assert rows_with(app, "[x] paper")
        await typed(pilot, "enter")
        assert isinstance(app.screen, RunsScreen)
        assert asked(fake, Tag) == [Tag(fake.rows[0].name, ["draft", "paper"], ["keep"])]


async def test_of_several_runs_a_tag_that_some_have_says_so_and_esc_leaves_all() -> None:
    fake = tagged()
    async with shown_app(make_app(fake), SIZE) as (app, pilot):
        await typed(pilot, "space", "space", "t")
        assert rows_with(app, "[x] keep")
        assert rows_with(app, "[-] draft")
        await typed(pilot, *"draft", "space", "escape")
        assert isinstance(app.screen, RunsScreen)
        assert not asked(fake, Tag)
        await typed(pilot, "t", *"draft", "space", "enter")
        assert asked(fake, Tag) == [Tag(row.name, ["draft"], []) for row in fake.rows[:2]]
        # a note is put into the line, to be changed
        fake.rows[0] = replace(fake.rows[0], note="too hot")
        app.show_runs()
        await typed(pilot, "escape", "g", "t", "pagedown", "pagedown", "space", *", again", "enter")
        assert asked(fake, Note) == [Note(fake.rows[0].name, "too hot, again")]


async def test_columns_are_picked_from_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetop.tui.kept.file_of", lambda home: tmp_path / "app.json")
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), SIZE) as (app, pilot):
        await typed(pilot, "colon", *"columns", "enter")
        text = text_of(app)
        assert all(word in text for word in ("[ ] tags", "[ ] note", "[x] age", " run"))
        await typed(pilot, *"eval", "space", *"train.seed", "space")
        assert "picked: eval_loss, train.seed" in text_of(app)
        await typed(pilot, "enter")
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.runs.columns == ("eval_loss", "train.seed")
        await typed(pilot, "colon", *"columns", "enter", *"eval_loss", "space", "enter")
        assert screen.runs.columns == ("train.seed",)


def test_a_line_with_signs_quotes_or_commas_is_typed_whole() -> None:
    assert not any(map(is_expression, ("", "keep", "train.seed")))
    assert all(map(is_expression, ("+keep", "-draft", '"a note', "a, b")))
