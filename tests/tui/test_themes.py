"""Themes are chosen in the app, applied at once and saved; the environment overrides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from textual.events import Key
from tui_fakes import FakeSupervisor, make_app, mixed_rows, pressed, settled, shown_app, text_of

from finetop.core.runtime.home import Home
from finetop.tui.kept import keep, kept
from finetop.tui.messages import GroundTold
from finetop.tui.screens.themes import ThemesPage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FINETOP_THEME", "NO_COLOR", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr("finetop.tui.kept.file_of", lambda home: tmp_path / "app.json")


def accent(app: Any) -> str:
    """Return the colour of the active tab."""
    first = app.screen._compositor.render_strips()[0]
    return next(segment.style.color.name for segment in first if segment.text == " 1 Runs ")


async def themes(pilot: Any) -> None:
    await settled(pilot)
    await pressed(pilot, "colon")
    await pressed(pilot, *"theme", "enter")


async def test_a_theme_typed_in_one_burst_is_drawn_at_once_and_esc_undoes_it_enter_keeps_it(
    tmp_path: Path,
) -> None:
    keep(Home(tmp_path), columns=["note"])
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path)) as (app, pilot):
        app.show_theme("")
        await settled(pilot)
        for key in ("colon", *"theme", "enter", "j"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settled(pilot)
        assert isinstance(app.screen, ThemesPage) and app.look.colours == "dark"
        await pilot.press("escape")
        await themes(pilot)
        await pressed(pilot, "j", "j")
        assert app.look.colours == "light"
        await pressed(pilot, "escape")
        assert app.look.colours == "either"
        await themes(pilot)
        await pressed(pilot, "j", "enter")
        assert app.look.colours == "dark" and "needs you" in text_of(app)
        assert accent(app) == "#b69cff"
    assert (kept(Home(tmp_path)).theme, kept(Home(tmp_path)).columns) == ("dark", ["note"])


async def test_the_terminals_background_is_taken_unless_a_theme_was_chosen_or_the_environment_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path)) as (app, pilot):
        app.post_message(GroundTold("light"))
        await settled(pilot)
        assert app.look.colours == "light" and accent(app) == "#5a2bd0"
        app.show_theme("dark")
        app.post_message(GroundTold("light"))
        await settled(pilot)
        assert app.look.colours == "dark"
        monkeypatch.setenv("FINETOP_THEME", "16")
        await themes(pilot)
        assert "the environment sets the colours: 16." in text_of(app)
