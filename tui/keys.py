"""Keys as data: what a key does, its text in the footer and the help, and the equivalent command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

from finetop.tui.text import Line, line_width

# What the user reads instead of Textual's names; any other key is shown by its name.
_SIGNS = {
    "j": "↓ j", "k": "↑ k", "left": "←", "right": "→", "shift+left": "⇧←", "shift+right": "⇧→", "shift+tab": "⇧tab",
    "pagedown": "pgdn", "pageup": "pgup", "escape": "esc", "slash": "/", "colon": ":", "comma": ",",
    "full_stop": ", .", "plus": "+ -", "minus": "-", "question_mark": "?",
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """One key (or several that do the same) of a screen."""

    keys: str  # Textual's names: "j,down"
    label: str  # the footer's word; empty: not shown there
    action: str = ""  # of the screen
    about: str = ""
    command: str = ""  # the equivalent on the command line
    sign: str = ""  # what the user reads if not the first name

    @property
    def shown(self) -> str:
        """Return what the user reads: ←→, esc, R."""
        first = self.keys.partition(",")[0]
        return self.sign or _SIGNS.get(first, first)


PAGES = (
    Key("pagedown", "", "page(1)", "page down"),
    Key("pageup", "", "page(-1)", "page up"),
    Key("ctrl+d", "", "page(0.5)", "half a page down"),
    Key("ctrl+u", "", "page(-0.5)", "half a page up"),
)
# Must precede a screen's other key on `n`: once / has found something, n steps through the matches.
MATCH = Key("n", "match", "match(1)", "after /: next match", sign="n N")
MATCHES = (MATCH, Key("N", "", "match(-1)", "previous match"))
NO_MORE = "nothing more in that direction."
NO_SEARCH = "no search yet: / starts one, then n and N step through the matches."
NO_MATCH = "no other match."
BACK = Key("escape", "back", "back", "back to the previous screen")


def moves(thing: str = "row", last: str = "") -> tuple[Key, ...]:
    """Return the keys that move through a list, the same on every screen; the screen has `move`, `page` and `ends`."""
    return (
        Key("j,down", "", "move(1)", f"next {thing}"),
        Key("k,up", "", "move(-1)", f"previous {thing}"),
        *PAGES,
        Key("g,home", "", "ends(-1)", f"first {thing}"),
        Key("G,end", "", "ends(1)", last or f"last {thing}"),
    )


def rows_of(pages: float, height: int) -> int:
    """Return how many rows some pages are at this height, at least one."""
    return int(math.copysign(max(1, int(abs(pages) * (height - 2))), pages))


def after_search(step: tuple[str, str]) -> tuple[str, str]:
    """Return the next step while a search is active: for one on `n` the search must be ended first."""
    key, words = step
    return ("esc", f"end the search, then n: {words}") if key == MATCH.keys else step


def paired(keys: Sequence[Key]) -> list[Key]:
    """Return the keys for the help: two with opposite directions are merged."""
    rows: list[Key] = []
    for key in keys:
        first = next((row for row in rows if _is_other_way(row.action, key.action)), None)
        if first is None:
            rows.append(key)
            continue
        sign = first.shown
        if key.shown.partition(" ")[0] not in sign:
            own = [_SIGNS.get(entry.keys.partition(",")[0], entry.shown).split() for entry in (first, key)]
            sign = " ".join(name for pair in zip(*own, strict=False) for name in pair)
        rows[rows.index(first)] = replace(first, sign=sign, about=f"{first.about} / {key.about}")
    return rows


def _is_other_way(one: str, other: str) -> bool:
    """Return whether two actions are the same with numbers of opposite sign."""
    name, _, number = one.partition("(")
    return bool(number) and other == f"{name}({number[1:] if number.startswith('-') else '-' + number}"


def bindings(keys: Sequence[Key]) -> list[BindingType]:
    """Return the bindings of keys; commands that are only in the palette have none."""
    return [Binding(key.keys, key.action, key.about, show=False) for key in keys if key.keys]


def key_of(sign: str, keys: Sequence[Key] = ()) -> str:
    """Return Textual's name of the key shown by a sign."""
    for key in keys:
        if key.keys and key.shown == sign:
            return key.keys.partition(",")[0]
    return next((name for name, shown in _SIGNS.items() if shown == sign), sign)


def footer(keys: Sequence[Key], width: int, *, has_help: bool = True) -> Line:
    """Return the footer: most used first, `? keys` always last; an entry that does not fit is left out whole."""
    spans: list[Line] = []
    last: Line = (("?", "key"), (" keys", "dim")) if has_help else ()
    left = width - 1 - line_width(last)
    for key in keys:
        if not key.label:
            continue
        entry: Line = ((key.shown, "key"), (f" {key.label}  ", "dim"))
        if line_width(entry) > left:
            break
        left -= line_width(entry)
        spans.append(entry)
    return ((" ", ""), *(span for entry in spans for span in entry), *last)
