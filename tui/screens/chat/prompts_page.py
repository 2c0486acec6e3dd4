"""The page of prompts to pick from: the recipe's, the rows of the test file, the items that the check lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.css.query import NoMatches

from finetop.core.errors import FinetopError
from finetop.core.features.chat import wording
from finetop.core.features.chat.messages import ChatPrompt, ChatPrompts
from finetop.core.text import clean_line, count, counted
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, moves
from finetop.tui.screens.pages import TablePage
from finetop.tui.text import Line, cursor_mark, cut_end, has_words, padded, paragraph, rule
from finetop.tui.theme import StyleName
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

PICK = Key("enter", "pick", "pick", "put it on the prompt line")
FILTER = Key("slash", "filter", "filter", "only prompts with these words in section, label, text or answer")
BACK = Key("escape,p", "back", "back", "clear the filter, then back to the chat")
HEADINGS = {"recipe": "of the recipe", "test": "rows of the test file", "lost": "lost by the newest check"}
_LABEL = 24  # cells
_EXPECTED = 24  # least cells


def matching(prompts: Sequence[ChatPrompt], text: str) -> list[ChatPrompt]:
    """Return the prompts that have all words of a text in their section, label, text or expected answer."""

    def words(prompt: ChatPrompt) -> str:
        return f"{HEADINGS[prompt.source]} {prompt.label} {prompt.text} {prompt.expected}"

    return [prompt for prompt in prompts if has_words(words(prompt), text)]


class PromptsPage(TablePage["ChatPrompt | None"], inherit_bindings=False):
    """Prompts under their sources, with the expected answer beside; the one under the cursor in full below."""

    DEFAULT_CSS = "PromptsPage { #whole { height: 40%; } }"
    KEYS: ClassVar[tuple[Key, ...]] = (PICK, FILTER, BACK, *moves("prompt"))
    TITLE = "Prompts"

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run
        self._all: Sequence[ChatPrompt] | None = None
        self._trouble = ""
        self._filter = ""
        self._listed: list[ChatPrompt] = []

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about", box="top")
        yield Table(self.draw_row, self.draw_heading, id="list", box="low")
        yield Lines(id="whole", box="whole")
        yield Bottom()

    def on_mount(self) -> None:
        self._show()
        self._load()

    @work
    async def _load(self) -> None:
        try:
            answer = await host_of(self).ask(ChatPrompts(self._run))
            self._all = answer.prompts
        except FinetopError as error:
            self._trouble = clean_line(str(error))
        try:
            self._show()
        except NoMatches:
            return  # it was closed meanwhile

    def _show(self) -> None:
        self._listed = matching(self._all or (), self._filter)
        aside = counted(len(self._all or ()), "prompt")
        if self._trouble or self._all is None:
            aside = "" if self._trouble else "loading …"
        elif not self._all:
            aside = "none: the recipe names no prompts or test file, and no check has lost items"
        elif self._filter:
            aside = f"{count(len(self._listed))} of {aside}"
        self.show_title("Prompts", aside)
        self.query_one(Table).show(len(self._listed))
        self._show_whole()

    @property
    def at(self) -> ChatPrompt | None:
        cursor = self.query_one(Table).cursor
        return self._listed[cursor] if cursor < len(self._listed) else None

    def draw_heading(self, index: int) -> str:
        return HEADINGS[self._listed[index].source]

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        prompt = self._listed[index]
        label = padded(cut_end(clean_line(prompt.label), _LABEL - 2), _LABEL)
        expected_room = max(_EXPECTED, width // 4) if width >= 72 else 0
        room = max(8, width - _LABEL - expected_room - 3)
        text = padded(cut_end(clean_line(prompt.text).strip(), room - 1), room)
        expected = cut_end(clean_line(prompt.expected).strip(), expected_room)
        style: StyleName = "bold" if has_cursor else ""
        return (cursor_mark(has_cursor), (f" {label}", "dim"), (text, style), (expected, "dim"))

    def _show_whole(self) -> None:
        prompt, part = self.at, self.query_one("#whole", Lines)
        width, height = part.room
        if prompt is None:
            part.show(paragraph(self._trouble, width, style="red"))
            step = ("esc", "clear the filter") if self._filter else ("esc", "back: type a prompt of your own")
            self.bottom.offer((next_line(*step),), (FILTER, BACK))
            return
        expected = paragraph(prompt.expected, width - 1, max(1, height // 3))
        below: list[Line] = [rule((("expected answer", ""),), width), *expected] if prompt.expected else []
        system = paragraph(f"system: {prompt.system}", width - 1, 1, style="dim") if prompt.system else []
        text = paragraph(prompt.text, width - 1, max(1, height - 1 - len(system) - len(below)))
        how = wording.how_checked(prompt) or "as it is, without the chat template"
        how = how if prompt.raw else "as the user's message"
        title = rule(((clean_line(prompt.label), "bold"), (f"   {how}", "dim")), width)
        part.show([title, *system, *text, *below])
        self.bottom.offer((next_line("enter", "put it on the prompt line"),), (PICK, FILTER, BACK))

    @on(Table.Moved)
    def _moved(self) -> None:
        self._show_whole()

    @on(Lines.Resized)
    def _resized(self) -> None:
        self._show_whole()

    def action_filter(self) -> None:
        def changed(text: str) -> None:
            self._filter = text.strip()
            self._show()

        self.bottom.ask_text(
            "/",
            self._filter,
            changed=changed,
            done=lambda text, is_kept: changed(text if is_kept else ""),
            keep="apply",
            leave="clear the filter",
        )

    @on(Table.Opened)
    def action_pick(self) -> None:
        if self.at is not None:
            self.dismiss(self.at)

    def action_back(self) -> None:
        if self._filter:
            self._filter = ""
            self._show()
        else:
            self.dismiss(None)
