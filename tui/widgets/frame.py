"""The frame of every screen: the top row, and at the bottom trouble, the next step or a question, and the footer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from textual import events

from finetop.core.text import clean_line
from finetop.core.wording.durations import clock
from finetop.tui.app_interface import Host, host_of
from finetop.tui.keys import Key, footer
from finetop.tui.text import Line, cut_end, line_width, paragraph, spread
from finetop.tui.widgets.entry import Entry, drawn, entry_of, inserted, typed
from finetop.tui.widgets.lines import Lines, set_height

SMALLEST = (60, 20)
_MOVES = ("up", "down", "pageup", "pagedown")


class Top(Lines):
    """The first row: the place, the machine, the time."""

    DEFAULT_CSS = "Top { height: 1; }"

    def __init__(self, place: str = "") -> None:
        super().__init__(classes="frame")
        self.place = place
        self._tabs: dict[str, range] = {}  # the cells of each place, by its key

    def on_mount(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Go to the place that was clicked."""
        for key, cells in self._tabs.items():
            if event.x in cells:
                host_of(self).press(key)

    def redraw(self) -> None:
        """Redraw the row, after a minute or when the machine became known."""
        host = host_of(self)
        left: Line = ((" finetop ", "bold"), (" ", ""))
        for key, name, number, hue in host.places():
            words = f" {key} {name}{f' {number}' if number else ''} "
            tab: Line = ((words, "reverse"),)
            if name != self.place:
                tab = ((f" {key} ", "dim"), (name, ""), (f" {number}" if number else "", hue), (" ", ""))
            at = line_width(left)
            self._tabs[key] = range(at, at + line_width(tab))
            left = (*left, *tab, (" ", ""))
        time: Line = ((f"{clock(host.now())} ", ""),)
        room = self.size.width - line_width(left) - line_width(time) - 4
        self.show((spread(left, (*_load_and_place(host, room), *time), self.size.width),))


def _load_and_place(host: Host, room: int) -> Line:
    """Return in `room` cells what runs and where the app is: a remote machine takes precedence over what runs."""
    if any(home.link for home in host.homes):
        where = host.where(room)
        load = host.load(room - line_width(where) - 2)
    else:
        load = host.load(room)
        where = host.where(room - line_width(load) - 2)
    return tuple(span for part in (load, where) if part for span in (*part, ("  ", "")))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a question: the key, its word in the footer, and what it does."""

    key: str
    label: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Question:
    """A question above the footer. It names the thing and what is lost; esc always changes nothing."""

    words: Line
    answers: tuple[Answer, ...]
    leave: str


Complete = Callable[[str], tuple[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class TextQuestion:
    """A text typed above the footer."""

    label: str
    entry: Entry
    changed: Callable[[str], None]  # gets every change
    done: Callable[[str, bool], object]  # gets the final text, and whether it is kept
    keep: str
    leave: str
    fault: Callable[[str], str]  # returns a problem with the text, with which enter does not keep it
    once: bool  # else a later refusal opens it again
    complete: Complete | None  # returns how far tab completes the text, and the possible continuations
    keys: tuple[tuple[str, str], ...]  # named in the footer beside enter and esc
    passes: Callable[[str, str], bool]  # whether a key, given the text, goes to the screen


class Bottom(Lines, can_focus=True):
    """The last rows of every screen. It has the keyboard focus, so that a question gets the keys first."""

    DEFAULT_CSS = "Bottom { height: 2; dock: bottom; }"

    def __init__(self) -> None:
        super().__init__(classes="frame")
        self.next: tuple[Line, ...] = ()
        self.keys: tuple[Key, ...] = ()
        self.aside: Line = ()  # shown at the right of a typed text: "12 match"
        self.question: Question | TextQuestion | None = None
        self._kept: TextQuestion | None = None  # the text that the latest key has kept
        self._is_refused = False  # enter did not keep it, and `aside` holds the reason
        self.is_typed_above = False  # the screen itself takes letters as text

    def on_mount(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    @property
    def next_key(self) -> str:
        """Return the key suggested as next step, as the user reads it, or an empty string."""
        return next((line[1][0] for line in self.next if line and line[0][0].strip() == "next"), "")

    def offer(self, next_lines: Sequence[Line], keys: Sequence[Key]) -> None:
        """Show what to do next, and the keys of what the cursor is on."""
        self.next, self.keys = tuple(next_lines), tuple(keys)
        self.redraw()

    def ask(self, words: Line, answers: Sequence[Answer], *, leave: str) -> None:
        """Ask a question; its keys replace the footer until it is answered."""
        self.question = Question(words, tuple(answers), leave)
        self.redraw()

    def ask_text(
        self,
        label: str,
        text: str,
        *,
        done: Callable[[str, bool], object],
        keep: str,
        leave: str,
        changed: Callable[[str], None] = lambda text: None,
        fault: Callable[[str], str] = lambda text: "",
        once: bool = False,
        complete: Complete | None = None,
        keys: tuple[tuple[str, str], ...] = (),
        passes: Callable[[str, str], bool] = lambda key, text: False,
        at: int | None = None,
    ) -> None:
        """Let a text be typed above the footer, with the cursor at place `at` in it (default: its end)."""
        entry = entry_of(text) if at is None else Entry(text, at)
        self.question = TextQuestion(
            label, entry, changed, done, keep, leave, fault, once, complete, keys, passes
        )
        self.aside, self._is_refused = (), False
        self.redraw()

    def say_aside(self, words: Line) -> None:
        """Show a text beside the one being typed."""
        self.aside = words
        self.redraw()

    def on_key(self, event: events.Key) -> None:
        """Handle a key first: it hides the message and answers a question, else it goes on to the screen."""
        host = host_of(self)
        host.hush()
        self._kept = None
        if self.question is None:
            if host.supervisor_is_lost and event.character == "R" and not self.is_typed_above:
                event.stop()
                event.prevent_default()
                host.start_supervisor()
            return
        if isinstance(self.question, TextQuestion) and (
            event.key in _MOVES or self.question.passes(event.key, self.question.entry.text)
        ):
            return  # the list behind the text stays usable
        event.stop()
        event.prevent_default()
        if isinstance(self.question, TextQuestion):
            self._type(self.question, event)
        else:
            self._answer(self.question, event)
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked, or whose words were: in the footer, of a question, or of the next step."""
        if sign := clicked_key(self.lines, event.x, event.y):
            host_of(self).press(sign, self.keys)

    def on_paste(self, event: events.Paste) -> None:
        if isinstance(self.question, TextQuestion):
            event.stop()
            self._changed(self.question, inserted(self.question.entry, event.text))
            self.redraw()

    def _answer(self, question: Question, event: events.Key) -> None:
        if event.key == "escape":
            self.question = None
            return
        for answer in question.answers:
            if event.character == answer.key:
                self.question = None
                answer.do()
                return

    def _type(self, question: TextQuestion, event: events.Key) -> None:
        if event.key == "enter" and (words := question.fault(question.entry.text)):
            self._refuse(words)
            return
        if event.key in ("escape", "enter"):
            self.question, self.aside = None, ()
            self._kept = question if event.key == "enter" and not question.once else None
            question.done(question.entry.text, event.key == "enter")
            return
        if event.key == "tab" and question.complete is not None:
            longer, names = question.complete(question.entry.text)
            self._changed(question, entry_of(longer))
            self.aside = (("  ".join(map(clean_line, names)), "dim"),) if names else self.aside
            return
        entry = typed(question.entry, event.key, event.character)
        if entry is not None:
            self._changed(question, entry)

    def _changed(self, question: TextQuestion, entry: Entry) -> None:
        self.question = replace(question, entry=entry)
        if entry.text != question.entry.text:
            self._is_refused = False
            words = question.fault(entry.text)
            self.aside = ((words, "red"),) if words else ()
            question.changed(entry.text)

    def redraw(self) -> None:
        self._open_again()
        middle = self._middle()
        blank: list[Line] = [()] * (len(self.next) - len(middle))  # a message must not move what is above
        lines = [*self._trouble(), *blank, *middle, self._footer()]
        set_height(self, len(lines))
        self.show(lines)

    def _open_again(self) -> None:
        """Let a refused text be edited again, with the reason."""
        message = host_of(self).shown_message
        if self._kept is None or self.question is not None or not self.screen.is_current:
            return
        if message is not None and message.style == "red":
            self.question, self._kept = self._kept, None
            self._refuse(message.text)

    def _refuse(self, words: str) -> None:
        self.aside, self._is_refused = ((words, "red"),), True

    def _trouble(self) -> list[Line]:
        trouble, (width, height) = host_of(self).trouble, self.screen.size
        lines: list[Line] = [((" ✗ ", "red"), (trouble, "red"))] if trouble else []
        if width < SMALLEST[0] or height < SMALLEST[1]:
            small = f"too small: {width}x{height}, needs {SMALLEST[0]}x{SMALLEST[1]}"
            lines.append(((f" {small}", "amber"),))
        return lines

    def _middle(self) -> Sequence[Line]:
        width = self.size.width
        host = host_of(self)
        if isinstance(self.question, TextQuestion):
            label: Line = ((f" {self.question.label} ", "bold"),)
            typed = min(cell_len(self.question.entry.text) + 1, width * 2 // 3)
            beside = width - line_width(label) - typed - 4
            above: list[Line] = []
            if self._is_refused and line_width(self.aside) > beside:  # show all of the reason
                above = paragraph(self.aside[0][0], width, 2, style="red")
            aside = [] if above else [(cut_end(text, max(0, beside)), style) for text, style in self.aside]
            room = max(8, width - line_width(label) - line_width(tuple(aside)) - 4)
            text = drawn(self.question.entry, room)
            return [*above, spread((*label, *text), (*aside, (" ", "")), width)]
        if isinstance(self.question, Question):
            return [self.question.words]
        if host.shown_message is not None:
            return [((f" {host.shown_message.text}", host.shown_message.style),)]
        if host.supervisor_is_lost:
            typed = self.is_typed_above  # R is a letter then
            return [next_line("esc", f"then R: {host.restart}") if typed else next_line("R", host.restart)]
        return self.next or [()]

    def _footer(self) -> Line:
        question = self.question
        if isinstance(question, TextQuestion):
            tab = (("tab", "complete"),) if question.complete is not None else ()
            return _key_words((*question.keys, ("enter", question.keep), *tab, ("esc", question.leave)))
        if isinstance(question, Question):
            answers = tuple((answer.key, answer.label) for answer in question.answers)
            return _key_words((*answers, ("esc", question.leave)))
        return footer(self.keys, self.screen.size.width, has_help=not self.is_typed_above)


def clicked_key(lines: Sequence[Line], x: int, y: int) -> str:
    """Return the last key up to a place, or an empty string."""
    key, end = "", 0
    for text, style in lines[y] if y < len(lines) else ():
        key = text if style == "key" else key
        end += cell_len(text)
        if x < end:
            return key.strip()
    return ""


def _key_words(pairs: Sequence[tuple[str, str]]) -> Line:
    spans: Line = ((" ", ""),)
    for key, words in pairs:
        spans = (*spans, (key, "key"), (f" {words}   ", "dim"))
    return spans


def next_line(key: str, words: str, *, before: str = "next") -> Line:
    """Return the next step as a line: one key, and what it does and costs."""
    return ((f" {before:>4}  ", "bold"), (key, "key"), (f"  {words}", ""))
