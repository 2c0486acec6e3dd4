"""The key / of the Launch screen: a setting is found by its words, among all there are."""

from __future__ import annotations

from typing import Protocol

from finetop.tui.screens.launch.form import IMPORTANT, Form, visible
from finetop.tui.screens.launch.view import Part
from finetop.tui.widgets.frame import Bottom


class Searched(Protocol):
    """The screen, as far as its search goes."""

    part: Part
    all_settings: bool
    searched: str
    sought: str
    field_at: int
    form: Form

    @property
    def key(self) -> str: ...

    def query_one(self, kind: type[Bottom], /) -> Bottom: ...

    def put_cursor_on(self, key: str) -> None: ...

    def redraw(self) -> None: ...


def search(screen: Searched) -> None:
    """Let words be typed that a setting has; enter goes to the one under the cursor, esc back to where it was."""
    before = (screen.part, screen.all_settings, screen.key)

    def changed(text: str) -> None:
        screen.searched, screen.field_at = text, 0
        screen.redraw()

    def done(text: str, is_kept: bool) -> None:
        key, screen.searched, screen.sought = screen.key, "", text if is_kept else ""
        if is_kept and key:
            screen.all_settings = screen.all_settings or key not in IMPORTANT
        else:
            screen.part, screen.all_settings, key = before
        screen.put_cursor_on(key)
        screen.redraw()

    screen.part = "settings"
    bottom = screen.query_one(Bottom)
    bottom.ask_text("/", "", changed=changed, done=done, keep="go to it", leave="back")


def to_match(screen: Searched, direction: int) -> bool:
    """Go to the next setting (1) that was searched for, or the one before (-1); returns whether there is one."""
    order = [field.key for _, field in visible(screen.form, all_settings=True)]
    found = [field.key for _, field in visible(screen.form, all_settings=True, searched=screen.sought)]
    here = order.index(screen.key) if screen.part == "settings" and screen.key in order else -1
    further = [key for key in found if (order.index(key) - here) * direction > 0]
    if not further:
        return False
    key = further[0] if direction > 0 else further[-1]
    screen.part, screen.all_settings = "settings", screen.all_settings or key not in IMPORTANT
    screen.put_cursor_on(key)
    screen.redraw()
    return True
