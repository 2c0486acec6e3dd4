"""Search on the Launch screen: recipes by name, and all settings by the words in their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from finetop.core.text import clean_line, counted
from finetop.tui.screens.launch.form import Base, important, matching, named, visible
from finetop.tui.screens.launch.state import LaunchState, Part
from finetop.tui.widgets.frame import Bottom


class Searched(Protocol):
    """The part of the screen that a search needs."""

    state: LaunchState

    def query_one(self, kind: type[Bottom], /) -> Bottom: ...

    def go_to_base(self, at: int) -> None: ...

    def redraw(self) -> None: ...


def search(screen: Searched) -> None:
    """Search recipes and settings as words are typed, the part with the cursor first; esc goes back to the start."""
    state = screen.state
    before = (state.part, state.all_settings, state.key)
    base_at, of_base, bottom = state.base_at, state.form, screen.query_one(Bottom)

    def changed(text: str) -> None:
        state.searched, state.field_at = text, 0
        recipes = matching(state.bases, text)
        settings = visible(of_base, all_settings=True, searched=text) if text.strip() else ()
        matches: dict[Part, Sequence[object]] = {"recipes": recipes, "settings": settings}
        nearest = _nearest(state.bases, recipes, text) if recipes else base_at
        is_named = bool(named(state.bases, text))
        goes_to_recipes = _is_name(state.bases[nearest], text) or (before[0] == "recipes" and is_named)
        if recipes and (goes_to_recipes or not settings):
            state.part = "recipes"
        else:
            state.part = "settings" if settings else before[0]
        screen.go_to_base(nearest if state.part == "recipes" else base_at)
        if not text.strip():
            bottom.say_aside((("a recipe or a setting: qlora, rank", "dim"),))
        elif matches[state.part]:
            noun = state.part.removesuffix("s")
            bottom.say_aside(((counted(len(matches[state.part]), noun), "dim"),))
        else:
            bottom.say_aside(((f"no recipe or setting matches {clean_line(text)!r}", "red"),))

    def done(text: str, is_kept: bool) -> None:
        key, state.searched, state.sought = state.key, "", text if is_kept else ""
        if is_kept and (matching(state.bases, text) if state.part == "recipes" else key):
            state.all_settings = state.all_settings or (bool(key) and key not in important(state.form))
        else:
            screen.go_to_base(base_at)
            state.part, state.all_settings, key = before
        state.put_cursor_on(key)
        screen.redraw()

    bottom.ask_text("/", "", changed=changed, done=done, keep="go to it", leave="cancel")
    changed("")


def _nearest(bases: Sequence[Base], places: Sequence[int], text: str) -> int:
    """Return the recipe whose name is the text, else one that starts with it, else the first."""

    def far(at: int) -> tuple[bool, bool]:
        return not _is_name(bases[at], text), not bases[at].title.lower().startswith(text.strip().lower())

    return min(places, key=far)


def _is_name(base: Base, text: str) -> bool:
    """Return True if a text is a recipe's name, with or without its file extension."""
    name = base.title.lower()
    return text.strip().lower() in (name, name.rsplit(".", 1)[0])


def to_match(screen: Searched, direction: int) -> bool:
    """Go to the next (1) or previous (-1) match in the part with the cursor, from the last to the first.

    Return whether there is one besides the cursor's.
    """
    state = screen.state
    if state.part == "recipes":
        places = [at for at in matching(state.bases, state.sought) if at != state.base_at]
        if places:
            size = len(state.bases)
            screen.go_to_base(min(places, key=lambda at: (at - state.base_at) * direction % size))
            screen.redraw()
        return bool(places)
    order = [field.key for _, field in visible(state.form, all_settings=True)]
    matches = [field.key for _, field in visible(state.form, all_settings=True, searched=state.sought)]
    here = order.index(state.key) if state.key in order else -1
    others = [key for key in matches if key != state.key]
    if not others:
        return False
    key = min(others, key=lambda key: (order.index(key) - here) * direction % len(order))
    state.show_setting(key)
    screen.redraw()
    return True
