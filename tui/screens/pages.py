"""Pages that open over any screen, a title above rows: keys, messages, and all commands by name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.screen import ScreenResultType

from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import clock
from finetop.tui.app_interface import host_of
from finetop.tui.finder import Match, command_names, find, kind_of, ranked
from finetop.tui.keys import MATCH, MATCHES, NO_MATCH, NO_SEARCH, Key, bindings, moves, paired
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, line_width, spread, wrapped
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

BACK = Key("escape,question_mark,f1", "back", "back", "back to the previous screen")
SEARCH = Key("slash", "search", "search", "search in these lines")
MOVES = moves()
# Without their letters, which are typed text.
TYPED_BESIDE = tuple(Key(key.keys.rpartition(",")[2], "", key.action) for key in MOVES[:4])
NAME_WIDTH = 14  # least cells
_SIGN = 14  # cells of the key column in the help
_WIDEST = 118  # cells of a row of the help
_GAP = 3  # cells between what a key does and its command
PAUSE_S = 0.15  # pause in typing before the supervisor is asked


class TablePage(AppScreen[ScreenResultType], Generic[ScreenResultType], inherit_bindings=False):
    """A title and a table; esc returns to the previous screen."""

    DEFAULT_CSS = "TablePage { overflow: hidden; #about { height: 2; } #list { height: 1fr; } }"
    KEYS: ClassVar[tuple[Key, ...]] = (SEARCH, *MATCHES, BACK, *MOVES)
    OFFERED: ClassVar[tuple[Key, ...]] = (SEARCH, BACK)  # in the footer
    sought = ""  # the search text

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about", box="top")
        yield Table(self.draw_row, self.draw_heading, id="list", box="low")
        yield Bottom()

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        """Draw a row of the table."""
        raise NotImplementedError

    def draw_heading(self, index: int) -> str:
        """Return the heading of the part that a row is in, or an empty string."""
        return ""

    def show_title(self, title: str, aside: str = "") -> None:
        line: Line = ((f" {title}", "bold"), (f"   {aside}" if aside else "", "dim"))
        self.query_one("#about", Lines).show((line,))

    def offer_keys(self) -> None:
        """Show the footer; once there is a search, n is offered for its matches."""
        searching = (MATCH, *(key for key in self.OFFERED if key.keys != MATCH.keys))
        self.bottom.offer([], searching if self.sought else self.OFFERED)

    def action_search(self) -> None:
        start = self.query_one(Table).cursor

        def changed(text: str) -> None:
            self.sought = text.strip().casefold()
            self.query_one(Table).go(start)
            if self.sought and not self._has(start):
                self._to_match(1)

        def done(text: str, is_kept: bool) -> None:
            self.sought = text.strip().casefold() if is_kept else ""
            self.offer_keys()
            if not is_kept:
                self.query_one(Table).go(start)
            elif self.sought and not self._has(self.query_one(Table).cursor):
                host_of(self).say(NO_MATCH)

        self.bottom.ask_text("/", "", changed=changed, done=done, keep="find", leave="cancel")

    def action_match(self, direction: int) -> None:
        if not self.sought:
            host_of(self).say(NO_SEARCH)
        elif not self._to_match(direction):
            host_of(self).say(NO_MATCH)

    def _to_match(self, direction: int) -> bool:
        """Go to the next (1) or previous (-1) matching line, past the last to the first; return if there is one."""
        table = self.query_one(Table)
        others = ((table.cursor + direction * step) % table.count for step in range(1, table.count))
        at = next((index for index in others if self._has(index)), None)
        if at is not None:
            table.go(at)
        return at is not None

    def _has(self, index: int) -> bool:
        line = self.draw_row(index, False, self.size.width)
        return self.sought in "".join(text for text, _ in line).casefold()


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One row of the help; if a key needs several, only the first shows its sign."""

    key: Key
    text: str
    command: str = ""
    is_first: bool = True


class KeysPage(TablePage[None], inherit_bindings=False):
    """Keys of the previous screen, each with its equivalent command, then the keys that work everywhere."""

    TITLE = "Keys"

    def __init__(self, title: str, keys: Sequence[Key]) -> None:
        super().__init__()
        self._of = title
        # the keys of a search last: they first mean something once there is one
        self._own = tuple(sorted(paired(keys), key=lambda key: key.action == MATCH.action))
        self._rows: tuple[KeyRow, ...] = ()
        self._column = 0  # where the commands begin

    def on_mount(self) -> None:
        self.show_title(f"Keys of {self._of}", "lower case shows, capitals act on a run")
        self.offer_keys()

    def on_resize(self) -> None:
        keys = (*self._own, *paired(host_of(self).keys_everywhere()))
        self._rows = tuple(row for key in keys for row in key_rows(key, min(_WIDEST, self.size.width - 2)))
        ends = [3 + _SIGN + cell_len(row.text) for row in self._rows if row.command]
        self._column = max(ends, default=0) + _GAP
        self.query_one(Table).show(len(self._rows))

    def to_copy(self) -> str:
        return self._rows[self.query_one(Table).cursor].key.command

    def draw_heading(self, index: int) -> str:
        return f"on {self._of}" if self._rows[index].key in self._own else "everywhere"

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        row, width = self._rows[index], min(_WIDEST, width)
        cursor = cursor_mark(has_cursor)
        sign = row.key.shown if row.is_first else ""
        line: Line = (cursor, (f"  {sign:<{_SIGN}}", "key"), (row.text, "bold" if has_cursor else ""))
        if not row.command:
            return line
        start = min(self._column, width - 1 - cell_len(row.command))
        if not row.text:  # on a row of its own
            line = (cursor,)
        return (*line, (" " * (start - line_width(line)), ""), (row.command, "dim"))


def key_rows(key: Key, width: int) -> list[KeyRow]:
    """Split a key's help into rows, with its command at the right of the last row or on its own row below."""
    *texts, last = wrapped(key.about, width - _SIGN - 4)
    rows = [KeyRow(key, text, is_first=not at) for at, text in enumerate(texts)]
    if not key.command or cell_len(last) + cell_len(key.command) + _SIGN + 6 <= width:
        return [*rows, KeyRow(key, last, key.command, not rows)]
    return [*rows, KeyRow(key, last, is_first=not rows), KeyRow(key, "", key.command, is_first=False)]


class MessagesPage(TablePage[None], inherit_bindings=False):
    """Messages shown above the footer, newest first; a slow link may have hidden some."""

    TITLE = "Messages"

    def on_mount(self) -> None:
        messages = host_of(self).messages
        self.show_title(counted(len(messages), "message") if messages else "No messages yet.")
        self.query_one(Table).show(len(messages))
        self.offer_keys()

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        message = host_of(self).messages[-1 - index]
        cursor: Line = (cursor_mark(has_cursor),)
        return (*cursor, (f" {clock(message.at)}  ", "dim"), (message.text, message.style))


def nothing_words(text: str) -> str:
    """Return that nothing matches a text, and the command of the command line that it names."""
    from finetop.core.commands.main import OTHER_WORDS, verbs

    word = text.strip().lower()
    verb = word if word in verbs() else OTHER_WORDS.get(word, "")
    shell = f" here; in a shell: finetop {verb}" if verb else ""
    return f"nothing matches {clean_line(text)!r}{shell}"


class CommandsPage(TablePage["Key | Match | None"], inherit_bindings=False):
    """All commands and everything else findable by name; enter returns the selected one."""

    KEYS = ()
    BINDINGS: ClassVar = bindings(TYPED_BESIDE)
    TITLE = "Commands"

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__()
        by_action = {key.action: key for key in reversed(keys)}  # the screen's own keys win
        moves = ("move", "page", "match")
        own = (key for key in keys if key is by_action[key.action])
        self._all = tuple(key for key in own if not key.action.startswith(moves))
        self._matching: tuple[Key | Match, ...] = self._all

    def on_mount(self) -> None:
        self._show(self._all)
        self.bottom.ask_text(":", "", changed=self._filter, done=self._done, keep="run it", leave="cancel")

    def _show(self, matching: Sequence[Key | Match], aside: str = "", at: int = 0) -> None:
        self._matching = tuple(matching)
        self.show_title("Commands", aside or "type the name of a command, screen, run, recipe, task or theme")
        self.query_one(Table).show(len(self._matching), at)

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        row = self._matching[index]
        if isinstance(row, Match):
            name, about, sign = cut_middle(clean_line(row.name), 40), row.about, ""
        else:
            name, about, sign = command_names(row)[0], row.about, row.shown if row.keys else ""
            if about.lower() == name:  # a screen: its name says it already
                about = row.command
        name += " " * max(0, NAME_WIDTH - cell_len(name))
        about = cut_end(about, max(0, width - 17 - cell_len(name) - len(sign)))
        start: Line = (cursor_mark(has_cursor), (f"  {kind_of(row):<9}", "dim"), (f"{name}  ", "bold"))
        left: Line = (*start, (about, "bold" if has_cursor else ""))
        return spread(left, ((sign, "key"), (" ", "")), width)

    def _filter(self, text: str) -> None:
        self._show(ranked(text, self._all))
        self._find(text)

    @work(exclusive=True)
    async def _find(self, text: str) -> None:
        """Search runs, recipes and more by name once typing pauses, and list them among the commands."""
        await asyncio.sleep(PAUSE_S)
        matching = ranked(text, self._all, await find(host_of(self), text))
        if self.is_current:
            cursor = self.query_one(Table).cursor
            chosen = self._matching[cursor] if 0 < cursor < len(self._matching) else None
            at = matching.index(chosen) if chosen in matching else 0
            self._show(matching, "" if matching else nothing_words(text), at)

    def _done(self, text: str, is_chosen: bool) -> None:
        cursor = self.query_one(Table).cursor
        self.dismiss(self._matching[cursor] if is_chosen and cursor < len(self._matching) else None)
