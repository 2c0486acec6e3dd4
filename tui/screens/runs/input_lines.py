"""The lines that are typed over the list: its filter, tags and notes, columns, and the number of runs that end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Protocol

from textual.geometry import Size

from finetop.core.errors import BadInput, FinetopError
from finetop.core.protocol.messages.notes import Note, Tag
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.request import Ask
from finetop.core.protocol.run_columns import asked_for, read_columns
from finetop.core.protocol.run_filter import KEYS, parse, written
from finetop.core.protocol.runs import RunRow
from finetop.core.protocol.tags import Noted, read_noted
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host
from finetop.tui.kept import keep, kept
from finetop.tui.screens.runs.actions import CountQuestion
from finetop.tui.screens.runs.pane import fault_words
from finetop.tui.screens.runs.row import needed_width
from finetop.tui.screens.runs.state import RunList
from finetop.tui.screens.shared.run_actions import short_name
from finetop.tui.text import cut_end
from finetop.tui.widgets.frame import Bottom, TextQuestion

NOW_NOTED = 30  # cells of what is noted already
COLUMNS = "columns"
FILTER = "/"  # what stands before it


class TypedLines(Protocol):
    """The screen of the list, as its typed lines need it."""

    runs: RunList

    @property
    def host(self) -> Host: ...

    @property
    def chosen(self) -> list[RunRow]: ...

    @property
    def size(self) -> Size: ...

    def query_one(self, kind: type[Bottom], /) -> Bottom: ...

    def run_worker(self, work: Any, *, group: str, exclusive: bool) -> Any: ...

    def load_anew(self, run: str = "") -> None: ...

    def filter_by(self, text: str) -> None: ...

    def do(self, asks: Sequence[Ask], *, said: str = "") -> Any: ...


def without(text: str, part: Literal["sort", "group"]) -> str:
    """Take the order or the group out of a filter."""
    try:
        line = parse(text)
    except BadInput:
        return text
    if part == "sort":
        return written(replace(line, sort=None)) if line.sort is not None else text
    return written(replace(line, group="")) if line.group else text


def without_begun(text: str, metrics: Iterable[str]) -> str:
    """Leave out the last word while it may become a key: on the way to `loss<1.2` no run is called `los`."""
    before, _, word = text.rpartition(" ")
    begun = word.removeprefix("-")
    if not begun or text.count('"') % 2:
        return text
    return before if any(key.startswith(begun) for key in (*KEYS, "sort", "group", *metrics)) else text


def filter_line(screen: TypedLines, text: str, *, leave: str, left: str) -> None:
    """Let the filter be typed, with its rows behind it; esc makes it `left`."""
    metrics = {key for row in screen.runs.pages.rows.values() for key in row.metrics}
    screen.query_one(Bottom).ask_text(
        FILTER,
        text,
        changed=lambda typed: screen.filter_by(without_begun(typed, metrics)),
        done=lambda typed, is_kept: screen.filter_by(typed if is_kept else left),
        keep="keep",
        leave=leave,
    )
    if text != screen.runs.filter:
        screen.filter_by(text)


def is_filtering(screen: TypedLines) -> bool:
    """Say whether the filter is being typed."""
    question = screen.query_one(Bottom).question
    return isinstance(question, TextQuestion) and question.label == FILTER


def ask_count(screen: TypedLines, question: CountQuestion) -> None:
    """Have the number of runs typed that a key is for, then do it."""
    screen.query_one(Bottom).ask_text(
        question.words,
        "",
        done=lambda text, is_kept: screen.do(question.asks) if is_kept else None,
        keep=question.keep,
        leave=question.leave,
        fault=lambda text: (
            "" if text.strip() == str(question.number) else f"{question.number} runs: type that number"
        ),
        once=True,
    )


# --- tags and notes -----------------------------------------------------------------------------------------


def tag_line(screen: TypedLines) -> None:
    """Let tags and a note be typed, for the runs that are marked or the one under the cursor."""
    rows = screen.chosen
    bottom = screen.query_one(Bottom)
    bottom.ask_text(
        f"tag {short_name(rows[0]) if len(rows) == 1 else f'{len(rows)} runs'}:",
        "",
        done=lambda text, is_kept: screen.do(noting(rows, read_noted(text))) if is_kept else None,
        keep="save",
        leave="cancel",
        fault=partial(_fault, read_noted),
    )
    bottom.say_aside(((_how_to_note(rows), "dim"),))


def noting(rows: Sequence[RunRow], noted: Noted) -> list[Ask]:
    """Say what is asked of the supervisor to note that of runs."""
    asks: list[Ask] = []
    for row in rows:
        if noted.add or noted.drop:
            asks.append(Tag(row.name, list(noted.add), list(noted.drop)))
        if noted.note is not None:
            asks.append(Note(row.name, noted.note))
    return asks


def _how_to_note(rows: Sequence[RunRow]) -> str:
    how = '+keep -draft "a note"'
    if len(rows) > 1 or not (rows[0].tags or rows[0].note):
        return how
    note = f'"{rows[0].note}"' if rows[0].note else ""
    return f"{how}   now: {cut_end(clean_line(' '.join([*rows[0].tags, note])), NOW_NOTED)}"


def _fault(read: Callable[[str], object], text: str) -> str:
    """Say what is wrong with a typed text; nothing where it can be read."""
    try:
        read(text)
    except BadInput as fault:
        return clean_line(str(fault))
    return ""


# --- columns ------------------------------------------------------------------------------------------------


def columns_line(screen: TypedLines) -> None:
    """Let the columns beside the usual ones be typed; kept on this machine."""
    bottom = screen.query_one(Bottom)

    def changed(text: str) -> None:
        screen.run_worker(_look(screen, text), group=COLUMNS, exclusive=True)

    def done(text: str, is_kept: bool) -> None:
        if is_kept:
            screen.run_worker(_choose(screen, text), group=COLUMNS, exclusive=True)

    bottom.ask_text(
        "columns:",
        ", ".join(screen.runs.columns),
        changed=changed,
        done=done,
        keep="keep",
        leave="leave them",
        fault=partial(_fault, read_columns),
    )
    bottom.say_aside((("tags, note, age, eval_loss, train.seed …", "dim"),))


async def _unknown(screen: TypedLines, columns: tuple[str, ...]) -> str:
    """Say which metric or setting no run has; nothing where all are known, or nobody can be asked."""
    for key in asked_for(columns):
        try:
            await screen.host.ask(Runs(f"sort:{key}", limit=1))
        except BadInput as fault:
            return fault_words(fault)
        except FinetopError:
            return ""
    return ""


async def _look(screen: TypedLines, text: str) -> None:
    bottom = screen.query_one(Bottom)
    if not _fault(read_columns, text):
        words = await _unknown(screen, read_columns(text))
        if isinstance(bottom.question, TextQuestion) and bottom.question.entry.text == text:
            bottom.say_aside(((words, "red"),))


async def _choose(screen: TypedLines, text: str) -> None:
    columns = read_columns(text)
    if words := await _unknown(screen, columns):
        screen.host.say(words, "red")
        return
    screen.runs.columns = columns
    has_hosts = len(screen.host.homes) > 1
    needed = needed_width(columns, has_hosts=has_hosts)
    if needed > screen.size.width:
        screen.host.say(f"all of them need a terminal of {needed} columns; this one has {screen.size.width}.")
    try:
        keep(screen.host.homes[0], columns=list(columns))
    except (OSError, FinetopError) as error:
        screen.host.say(f"the columns are not kept for the next time: {error}", "red")
    screen.load_anew()


def columns(home: Home) -> tuple[str, ...]:
    """Read the chosen columns; none where what is kept can't be read."""
    try:
        return read_columns(" ".join(kept(home).columns))
    except FinetopError:
        return ()
