"""The base of every screen: the hooks of the keys that work everywhere, with their defaults."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic

from textual.css.query import NoMatches
from textual.screen import Screen, ScreenResultType

from finetop.core.text import clean_line
from finetop.tui.keys import Key, bindings
from finetop.tui.save import Sheet
from finetop.tui.widgets.frame import Bottom, Question
from finetop.tui.widgets.table import Table

_PART: Final = re.compile(r"( ?)\[([^\]]*)\]")
_WORD: Final = re.compile(r"\b[A-Z]{2,}\b")


class AppScreen(Screen[ScreenResultType], Generic[ScreenResultType], inherit_bindings=False):
    """A screen of the app."""

    KEYS: ClassVar[tuple[Key, ...]] = ()  # all of this screen, for the help
    COPIES_LINES: ClassVar = False  # else a newline would run what is copied in a shell

    def __init_subclass__(cls, **options: Any) -> None:
        """Bind a screen's keys, unless it binds others."""
        if "BINDINGS" not in vars(cls):
            cls.BINDINGS = bindings(cls.KEYS)
        super().__init_subclass__(**options)

    @property
    def bottom(self) -> Bottom:
        return self.query_one(Bottom)

    @property
    def is_free(self) -> bool:
        """Whether this is the current screen and no question is open."""
        return self.is_current and self.bottom.question is None

    def put(self, question: Question) -> None:
        """Show a question above the footer."""
        self.bottom.ask(question.words, question.answers, leave=question.leave)

    def to_copy(self) -> str:
        """Return the text that the copy key copies."""
        return ""

    def to_fill(self) -> dict[str, str]:
        """Return the values for a command's placeholders."""
        return {"RUN": self.to_copy()}

    def to_run(self) -> str:
        """Return the command for the next step that is offered, filled in for the cursor; empty if there is none."""
        try:
            sign = self.bottom.next_key
        except NoMatches:
            return ""
        command = next((key.command for key in self.KEYS if key.shown == sign and key.command), "")
        return filled(command, self.to_fill())

    async def to_save(self) -> Sheet:
        """Return the tables and charts to save; with none, the picture of the screen is saved."""
        return Sheet((self.title or "screen").lower())

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, pages: float) -> None:
        self.query_one(Table).page(pages)

    def action_ends(self, direction: int) -> None:
        self.query_one(Table).ends(direction)

    def action_back(self) -> None:
        self.dismiss()


def filled(command: str, words: Mapping[str, str]) -> str:
    """Replace a command's capitalised words with known values; a part in [ ] needs all of its words."""

    def part(match: re.Match[str]) -> str:
        return match[1] + match[2] if all(words.get(word) for word in _WORD.findall(match[2])) else ""

    def word(match: re.Match[str]) -> str:
        known = words.get(match[0])
        return shlex.quote(clean_line(known)) if known else match[0]

    return _WORD.sub(word, _PART.sub(part, command))
