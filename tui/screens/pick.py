"""A page to pick things: space selects or deselects, letters narrow the list or name a new entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on, work

from finetop.core.errors import BadInput
from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.screens.pages import TYPED_BESIDE, TablePage
from finetop.tui.text import Line, cursor_mark, cut_end, padded
from finetop.tui.widgets.frame import TextQuestion
from finetop.tui.widgets.table import Table

PICK = Key("space", "pick", "pick", "select or deselect")
_TEXT = ("+", "-", '"')  # a text that starts with one of these is taken whole, with its spaces
_NAME = 28  # cells


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to pick, listed under the heading `of`; `is_on` is None if only some of several runs have it.

    One that is fixed is there anyway, at this size of the terminal: it has its mark, and can't be picked.
    """

    name: str
    about: str = ""
    of: str = ""
    is_on: bool | None = False
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """What the user changed: selected and deselected names in order, and the typed text."""

    on: tuple[str, ...]
    off: tuple[str, ...]
    text: str


class PickPage(TablePage["Picked | None"], inherit_bindings=False):
    """Choices with a box before each; enter saves what is picked and typed, esc discards it.

    `read` raises BadInput for an invalid text; `check` returns why a text can't be used, asked again on enter.
    With `new`, a word that matches no choice can be picked too. Picking the choice `text` puts its words into the
    input line for editing.
    """

    KEYS = ()
    BINDINGS: ClassVar = bindings((PICK, *TYPED_BESIDE))
    TITLE = "Pick"

    def __init__(
        self,
        title: str,
        label: str,
        choices: Sequence[Choice],
        *,
        read: Callable[[str], object],
        check: Callable[[str], Awaitable[str]] | None = None,
        new: str = "",
        text: Choice | None = None,
    ) -> None:
        super().__init__()
        self._title, self._label = title, label
        self._all = tuple(choices)
        self._changed: dict[str, bool] = {}  # toggled by a key, the newest last
        self._read, self._check, self._new = read, check, new
        self._text = text
        self._listed: tuple[Choice, ...] = ()

    def on_mount(self) -> None:
        self._list("")
        self._ask("")

    def _ask(self, text: str, at: int | None = None) -> None:
        self.bottom.ask_text(
            self._label,
            text,
            at=at,
            changed=self._typed,
            done=self._done,
            keep="save",
            leave="cancel",
            fault=self._fault,
            keys=(("space", "pick"),),
            passes=lambda key, typed: key == "space" and not is_expression(typed),
        )

    def _list(self, text: str) -> None:
        """List the choices whose name contains the typed word; new ones come last."""
        word = "" if is_expression(text) else text.strip()
        matching = [choice for choice in self._all if word.casefold() in choice.name.casefold()]
        known = {choice.name for choice in self._all}
        new_choices = [Choice(name, of=self._new) for name in self._changed if name not in known]
        matching += [choice for choice in new_choices if word.casefold() in choice.name.casefold()]
        if self._new and word and word not in {choice.name for choice in matching} and not self._fault(word):
            matching.append(Choice(word, f"a {self._new}", of=self._new))
        if self._text is not None and not word:
            matching.append(self._text)
        self._listed = tuple(matching)
        on_ = [choice.name for choice in self._all if self._changed.get(choice.name, choice.is_on)]
        on_ += [choice.name for choice in new_choices]
        aside = f", or to add a {self._new}" if self._new else ""
        picked = f"picked: {clean_line(', '.join(on_))}" if on_ else f"type to search{aside}"
        self.show_title(self._title, cut_end(picked, max(0, self.size.width - cell_len(self._title) - 6)))
        self.query_one(Table).show(len(matching), 0 if word else None)

    def draw_heading(self, index: int) -> str:
        return self._listed[index].of

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        choice = self._listed[index]
        is_on = choice.is_fixed or self._changed.get(choice.name, choice.is_on)
        box = {True: "[x]", False: "[ ]", None: "[-]"}[is_on]
        name = clean_line(choice.name)
        room = max(_NAME, cell_len(name) + 1)
        return (
            cursor_mark(has_cursor),
            ("     " if choice is self._text else f" {box} ", "dim" if choice.is_fixed else "key"),
            (padded(name, room), "bold" if has_cursor else ""),
            (cut_end(choice.about, max(0, width - room - 7)), "dim"),
        )

    @on(Table.Opened)
    def action_pick(self) -> None:
        at, bottom = self.query_one(Table).cursor, self.bottom
        if at >= len(self._listed):
            return
        choice = self._listed[at]
        if choice is self._text:
            self._ask(f'"{choice.about}"', at=len(choice.about) + 1)
            return
        if choice.is_fixed:
            bottom.say_aside(((f"{choice.name} is shown at this width anyway", "dim"),))
            return
        is_on = not self._changed.pop(choice.name, choice.is_on)
        if is_on != choice.is_on:
            self._changed[choice.name] = is_on
        names = [listed.name for listed in self._listed]
        self._ask("")
        self._list("")
        self.query_one(Table).go([listed.name for listed in self._listed].index(names[at]) if is_on else at)
        bottom.redraw()

    def _typed(self, text: str) -> None:
        self._list(text)
        if self._check is not None and not self._listed and not self._fault(text):
            self._say_of(text)

    @work(exclusive=True, group="check")
    async def _say_of(self, text: str) -> None:
        assert self._check is not None
        error, bottom = await self._check(text), self.bottom
        if isinstance(bottom.question, TextQuestion) and bottom.question.entry.text == text:
            bottom.say_aside(((error, "red"),))

    def _fault(self, text: str) -> str:
        try:
            self._read(text)
        except BadInput as fault:
            return clean_line(str(fault))
        return ""

    def _done(self, text: str, is_kept: bool) -> None:
        if is_kept:
            self._keep(text)
        else:
            self.dismiss(None)

    @work
    async def _keep(self, text: str) -> None:
        """Close with what was picked and typed, unless the text can't be used."""
        if self._check is not None and (error := await self._check(text)):
            host_of(self).say(error, "red")
            return
        on_ = tuple(name for name, is_on in self._changed.items() if is_on)
        off = tuple(name for name, is_on in self._changed.items() if not is_on)
        self.dismiss(Picked(on_, off, text))


def is_expression(text: str) -> bool:
    """Return True if a text is an expression as on the command line, not a word to search by."""
    return text.lstrip().startswith(_TEXT) or any(mark in text for mark in ',"')
