"""The page to choose a theme: each is applied as the cursor reaches it, enter keeps it."""

from __future__ import annotations

import os
from typing import Any

from textual import on
from textual.app import App

from finetop.core.errors import FinetopError
from finetop.tui.app_interface import Host, host_of
from finetop.tui.kept import keep
from finetop.tui.keys import Key
from finetop.tui.palette import THEME_ABOUT, THEMES
from finetop.tui.screens.pages import MOVES, TablePage
from finetop.tui.text import Line, cursor_mark
from finetop.tui.theme import MARKS, SERIES
from finetop.tui.widgets.table import Table

KEEP = Key("enter", "keep", "keep", "keep this theme")
BACK = Key("escape", "cancel", "back", "back to the previous theme")


def open_themes(app: App[Any]) -> None:
    """Open the page, unless the environment sets the theme."""
    if not _is_chosen(host_of(app)) and not isinstance(app.screen, ThemesPage):
        app.push_screen(ThemesPage())


def apply_theme(host: Host, theme: str) -> None:
    """Apply a theme and save it, unless the environment sets the theme."""
    if not _is_chosen(host):
        host.show_theme(theme)
        keep_theme(host)


def keep_theme(host: Host) -> None:
    """Save the current theme for the next start."""
    try:
        keep(host.homes[0], theme=host.theme_chosen)
    except (OSError, FinetopError) as error:
        host.say(f"theme not saved: {error}", "red")


def _is_chosen(host: Host) -> bool:
    """Return True if the environment sets the theme, after reporting that."""
    environ = os.environ
    setting = environ.get("FINETOP_THEME", "") or ("NO_COLOR" if environ.get("NO_COLOR") else "")
    if setting:
        host.say(f"the environment sets the colours: {setting}.")
    return bool(setting)


class ThemesPage(TablePage[None], inherit_bindings=False):
    """The themes that this terminal can draw; esc restores the previous one."""

    KEYS = (KEEP, BACK, *MOVES)
    TITLE = "Theme"

    def on_mount(self) -> None:
        host = host_of(self)
        self._before = host.theme_chosen
        terminal_themes = THEMES[-2:]  # the themes made of the terminal's own colours
        self._themes = ("", *(terminal_themes if host.look.depth == 4 else THEMES))
        self.show_title("Theme", "saved on this machine; FINETOP_THEME overrides it")
        now = self._themes.index(self._before) if self._before in self._themes else 0
        self.query_one(Table).show(len(self._themes), now)
        self.bottom.offer([], (KEEP, BACK))

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        theme = self._themes[index]
        row: Line = (cursor_mark(has_cursor), (f"  {theme or 'automatic':<20}", "bold" if has_cursor else ""))
        row = (*row, (f"{THEME_ABOUT[theme]:<38}", "dim"))
        if not has_cursor:
            return row
        for word in ("regressed", "alarm", "ok", "running", "queued"):
            mark = MARKS[word]
            row = (*row, (f"{mark.mark} ", mark.style))
        return (*row, (" ", ""), *(("━━", name) for name in SERIES))

    @on(Table.Moved)
    def _show(self, moved: Table.Moved) -> None:
        host_of(self).show_theme(self._themes[moved.index])

    @on(Table.Opened)
    def action_keep(self) -> None:
        keep_theme(host_of(self))
        self.dismiss()

    def action_back(self) -> None:
        host_of(self).show_theme(self._before)
        self.dismiss()
