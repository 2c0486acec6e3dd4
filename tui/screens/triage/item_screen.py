"""One item of triage whole; up and down lead to the others of its list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.triage import ItemAnswer, ItemKind, LookAtItem
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.screens.triage.item import item_lines, title_line
from finetop.tui.screens.triage.keys import ITEM_KEYS
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.protocol.messages.triage import TriageRow
    from finetop.tui.screens.triage.items import Items


class ItemScreen(Screen[None], inherit_bindings=False):
    """An item's question, choices and answers; when in training it was lost, and in which other runs."""

    CSS_PATH = "item_screen.tcss"
    BINDINGS: ClassVar = bindings(ITEM_KEYS)
    TITLE = "Item"

    def __init__(self, row: TriageRow, items: Items, at: int) -> None:
        super().__init__()
        self.row, self.items, self.at = row, items, at
        self.known: dict[int, ItemAnswer] = {}
        self.top = 0  # the first row in view, where it is longer than the screen

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="title")
        yield Lines(id="item")
        yield Bottom()

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return ITEM_KEYS

    def to_copy(self) -> str:
        """Give the question and both answers."""
        item = self.items.items.get(self.at)
        if item is None:
            return ""
        return f"{item.question}\nbase: {item.base_answer}\ntuned: {item.tuned_answer}"

    def redraw(self) -> None:
        """Write everything again from what is held."""
        item, width = self.items.items.get(self.at), self.size.width
        if item is None:
            return
        place = (self.at, self.items.matching)
        self.query_one("#title", Lines).show((title_line(item, self.row, place, width),))
        body = self.query_one("#item", Lines)
        known = self.known.get(self.at)
        lines = item_lines(known or ItemAnswer(item, [], [], [], [], NO_KIND), width)
        self.top = min(self.top, max(0, len(lines) - body.size.height))
        body.show(lines[self.top :])
        more = len(lines) - self.top > body.size.height
        step = ("↓", "the next item") if self.at + 1 < self.items.matching else ("esc", "back to the items")
        step = ("pgdn", "there is more below") if more else step
        self.query_one(Bottom).offer((next_line(*step),), ITEM_KEYS)

    def on_mount(self) -> None:
        self._show(self.at)

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def _show(self, at: int) -> None:
        self.at, self.top = at, 0
        self.redraw()
        self._load(at)

    @work(exclusive=True)
    async def _load(self, at: int) -> None:
        """Ask for all of an item; the list is asked for more where it ends."""
        try:
            if at not in self.items.items:
                await self.items.more(at, at + 1)
                self.redraw()
            item = self.items.items.get(at)
            if item is not None and at not in self.known:
                self.known[at] = await host_of(self).ask(LookAtItem(self.row.name, item.task, item.item))
                self.redraw()
        except FinetopError as error:
            host_of(self).say(str(error), "red")
        except NoMatches:
            return  # an answer came while the screen is taken down

    def action_move(self, by: int) -> None:
        at = min(max(0, self.at + by), max(0, self.items.matching - 1))
        if at != self.at:
            self._show(at)

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * self.items.matching)

    def action_scroll(self, direction: int) -> None:
        self.top = max(0, self.top + direction * max(1, self.query_one("#item").size.height - 2))
        self.redraw()

    def action_back(self) -> None:
        self.dismiss()


NO_KIND = ItemKind("", 0, 0, 0)
