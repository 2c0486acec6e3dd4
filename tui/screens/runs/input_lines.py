"""Text prompts over the list of runs: filter, tags and notes, columns, and confirmation by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from textual.app import App
from textual.geometry import Size

from finetop.core.errors import BadInput, FinetopError
from finetop.core.protocol.messages.notes import Note, Tag
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.request import Ask
from finetop.core.protocol.run_columns import NAMES, asked_for, read_columns
from finetop.core.protocol.run_filter import KEYS, format_filter, is_metric, is_setting, parse
from finetop.core.protocol.runs import RunRow
from finetop.core.protocol.tags import APPROACHES, SWEEP, Noted, read_noted
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host
from finetop.tui.kept import keep, kept
from finetop.tui.screens.pick import Choice, Picked, PickPage
from finetop.tui.screens.runs.actions import CountQuestion
from finetop.tui.screens.runs.pane import fault_words
from finetop.tui.screens.runs.row import keys_on_screen, needed_width
from finetop.tui.screens.runs.state import RunList
from finetop.tui.screens.shared.run_actions import short_name
from finetop.tui.widgets.frame import Bottom, TextQuestion

_PARTS = ("run", "metrics, last value", "recipe settings")  # headings in the list of columns
FILTER = "/"  # the filter's label


class TypedLines(Protocol):
    """The parts of the Runs screen that its prompts need."""

    runs: RunList

    @property
    def app(self) -> App[Any]: ...

    @property
    def host(self) -> Host: ...

    @property
    def chosen(self) -> list[RunRow]: ...

    @property
    def size(self) -> Size: ...

    def query_one(self, kind: type[Bottom], /) -> Bottom: ...

    def load_anew(self, run: str = "") -> None: ...

    def filter_by(self, text: str) -> None: ...

    def do(self, asks: Sequence[Ask], *, message: str = "") -> Any: ...


def without_part(text: str, part: Literal["sort", "group"]) -> str:
    """Remove the sort or the group from a filter."""
    try:
        line = parse(text)
    except BadInput:
        return text
    if part == "sort":
        return format_filter(replace(line, sort=None)) if line.sort is not None else text
    return format_filter(replace(line, group="")) if line.group else text


def without_unfinished(text: str, metrics: Iterable[str]) -> str:
    """Drop the last word while it may become a key: `los` on the way to `loss<1.2` should not filter names."""
    before, _, word = text.rpartition(" ")
    prefix = word.removeprefix("-")
    if not prefix or text.count('"') % 2:
        return text
    return before if any(key.startswith(prefix) for key in (*KEYS, "sort", "group", *metrics)) else text


def ask_filter(screen: TypedLines, text: str, *, leave: str, left: str) -> None:
    """Ask for the filter and apply it while it is typed; esc sets it to `left`."""
    metrics = {key for row in screen.runs.pages.rows.values() for key in row.metrics}
    screen.query_one(Bottom).ask_text(
        FILTER,
        text,
        changed=lambda typed: screen.filter_by(without_unfinished(typed, metrics)),
        done=lambda typed, is_kept: screen.filter_by(typed if is_kept else left),
        keep="apply",
        leave=leave,
    )
    show_example(screen)
    if text != screen.runs.filter:
        screen.filter_by(text)


def show_example(screen: TypedLines) -> None:
    """Show examples beside an empty filter."""
    if not screen.runs.filter:
        screen.query_one(Bottom).say_aside((("e.g. regressed, lora loss<1.2, -tag:x", "dim"),))


def is_filtering(screen: TypedLines) -> bool:
    """Return True while the filter is being typed."""
    question = screen.query_one(Bottom).question
    return isinstance(question, TextQuestion) and question.label == FILTER


def ask_count(screen: TypedLines, question: CountQuestion) -> None:
    """Ask for the number of affected runs, then send the requests."""
    number = str(question.number)
    screen.query_one(Bottom).ask_text(
        question.words,
        "",
        done=lambda text, is_kept: screen.do(question.asks) if is_kept else None,
        keep=question.keep,
        leave=question.leave,
        fault=lambda text: "" if text.strip() == number else f"type {number} to confirm",
        once=True,
    )


# --- tags and notes -----------------------------------------------------------------------------------------


def pick_tags(screen: TypedLines) -> None:
    """Pick tags and type a note for the marked runs or the one under the cursor."""
    rows = screen.chosen
    others = [tag for row in screen.runs.pages.rows.values() for tag in row.tags]
    names = dict.fromkeys([*(tag for row in rows for tag in row.tags), *sorted(others)])
    note = rows[0].note if len(rows) == 1 else ""

    def done(picked: Picked | None) -> None:
        if picked is not None:
            noted = read_noted(picked.text)
            add = dict.fromkeys([*picked.on, *noted.add])
            drop = dict.fromkeys([*picked.off, *noted.drop])
            kept = Noted(tuple(tag for tag in add if tag not in noted.drop), tuple(drop), noted.note)
            screen.do(note_requests(rows, kept))

    whose = short_name(rows[0]) if len(rows) == 1 else f"{len(rows)} runs"
    page = PickPage(
        f"Tags of {whose}",
        f"tag {whose}:",
        [Choice(tag, of="tags", is_on=_has(rows, tag)) for tag in names if _is_own(tag, rows)],
        read=read_noted,
        new="new tag",
        text=Choice("note", clean_line(note), "a note, in quotes"),
    )
    screen.app.push_screen(page, done)


def _has(rows: Sequence[RunRow], tag: str) -> bool | None:
    """Return True if all runs have a tag, False if none has, else None."""
    having = sum(tag in row.tags for row in rows)
    return having == len(rows) if having in (0, len(rows)) else None


def _is_own(tag: str, rows: Sequence[RunRow]) -> bool:
    """Return True unless a sweep or comparison made the tag and none of the runs has it."""
    return not tag.startswith((SWEEP, APPROACHES)) or any(tag in row.tags for row in rows)


def note_requests(rows: Sequence[RunRow], noted: Noted) -> list[Ask]:
    """Return the requests that set tags and notes on runs."""
    asks: list[Ask] = []
    for row in rows:
        if noted.add or noted.drop:
            asks.append(Tag(row.name, list(noted.add), list(noted.drop)))
        if noted.note is not None:
            asks.append(Note(row.name, noted.note))
    return asks


# --- columns ------------------------------------------------------------------------------------------------


ABOUT = {
    "id": "run number", "age": "time since it ended, else since it was created", "drop": "points lost in its check",
    "verdict": "ok, regressed, no verdict", "suite": "suite of its check",
}  # fmt: skip


def pick_columns(screen: TypedLines) -> None:
    """Pick the extra columns, and save them on this machine."""
    from finetop.core.recipe.fields import fields

    shown = screen.runs.columns
    metrics = sorted({key for row in screen.runs.pages.rows.values() for key in row.metrics})
    settings = {field.key: field.about for field in fields() if is_setting(field.key)}
    run, metric, setting = _PARTS
    of: dict[str, tuple[str, str]] = {key: (run, ABOUT.get(key, "")) for key in NAMES}
    of |= {key: (metric, "") for key in metrics if is_metric(key)}
    of |= {key: (setting, about) for key, about in settings.items()}
    of = {key: (setting if is_setting(key) else metric, "") for key in shown} | of
    there = keys_on_screen(screen.size.width, has_hosts=screen.runs.has_hosts, chosen=shown)
    choices = [
        Choice(key, about, part, is_on=key in shown, is_fixed=key in there and key not in shown)
        for key, (part, about) in of.items()
    ]
    choices.sort(key=lambda choice: _PARTS.index(choice.of))

    def done(picked: Picked | None) -> None:
        if picked is not None:
            kept = [key for key in shown if key not in picked.off]
            _save_columns(screen, read_columns(" ".join([*kept, *picked.on, picked.text])))

    page = PickPage(
        "Columns of Runs",
        "columns:",
        choices,
        read=lambda text: read_columns(" ".join([*shown, text])),
        check=lambda text: _unknown(screen, read_columns(text)),
    )
    screen.app.push_screen(page, done)


async def _unknown(screen: TypedLines, columns: tuple[str, ...]) -> str:
    """Return an error for a metric or setting that no run has; empty if all exist or there is no answer."""
    for key in asked_for(columns):
        try:
            await screen.host.ask(Runs(f"sort:{key}", limit=1))
        except BadInput as fault:
            return fault_words(fault)
        except FinetopError:
            return ""
    return ""


def _save_columns(screen: TypedLines, columns: tuple[str, ...]) -> None:
    screen.runs.columns = columns
    needed = needed_width(columns, has_hosts=screen.runs.has_hosts)
    if needed > screen.size.width:
        screen.host.say(f"these columns need a terminal {needed} wide; this one is {screen.size.width}.")
    try:
        keep(screen.host.homes[0], columns=list(columns))
    except (OSError, FinetopError) as error:
        screen.host.say(f"columns not saved: {error}", "red")
    screen.load_anew()


def saved_columns(home: Home) -> tuple[str, ...]:
    """Return the saved columns; none if they can't be read."""
    try:
        return read_columns(" ".join(kept(home).columns))
    except FinetopError:
        return ()
