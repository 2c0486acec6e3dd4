"""The key / of the Launch screen: a setting is found by its words, among all there are."""

from __future__ import annotations

from typing import Protocol

from finetop.tui.screens.launch.form import IMPORTANT
from finetop.tui.screens.launch.view import Part
from finetop.tui.widgets.frame import Bottom


class Searched(Protocol):
    """The screen of the form, as the search needs it."""

    part: Part
    all_settings: bool
    field_at: int
    searched: str

    @property
    def key(self) -> str: ...

    def redraw(self) -> None: ...

    def put_cursor_on(self, key: str) -> None: ...

    def query_one(self, kind: type[Bottom], /) -> Bottom: ...


def search(screen: Searched) -> None:
    """Let words be typed that a setting has; enter goes to the one under the cursor, esc back to where it was."""
    before = (screen.part, screen.all_settings, screen.key)

    def changed(text: str) -> None:
        screen.searched, screen.field_at = text, 0
        screen.redraw()

    def done(text: str, is_kept: bool) -> None:
        key, screen.searched = screen.key, ""
        if is_kept and key:
            screen.all_settings = screen.all_settings or key not in IMPORTANT
        else:
            screen.part, screen.all_settings, key = before
        screen.put_cursor_on(key)
        screen.redraw()

    screen.part = "settings"
    bottom = screen.query_one(Bottom)
    bottom.ask_text("/", "", changed=changed, done=done, keep="go to it", leave="back")
