"""The items of one cell of triage: their kinds, then those that were lost and won, and the one under the cursor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.screen import Screen

from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.line import Line, rule
from finetop.tui.screens.triage.items import Items, empty_words, flip_line, kind_line, title_line
from finetop.tui.screens.triage.keys import ITEMS_KEYS
from finetop.tui.screens.triage.pane import item_head, item_widths
from finetop.tui.text import count
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import load_for_ever
from finetop.tui.widgets.table import Table
from finetop.tui.widgets.wrap import wrapped

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.protocol.messages.triage import ItemKind, LostItem, TriageRow


class ItemsScreen(Screen[None], inherit_bindings=False):
    """What one cell consists of. Enter on a kind shows its items, on an item all of it."""

    CSS_PATH = "items_screen.tcss"
    BINDINGS: ClassVar = bindings(ITEMS_KEYS)
    TITLE = "Items"

    def __init__(self, row: TriageRow, task: str) -> None:
        super().__init__()
        self.row = row
        self.items = Items(lambda ask: host_of(self).ask(ask), row.name, task)
        self._wants_anew = True
        self._wake = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="title")
        yield Lines(id="head")
        yield Table(self.draw_row, self.draw_heading, id="items")
        yield Lines(id="pane")
        yield Bottom()

    def to_fill(self) -> dict[str, str]:
        """Give what a command's words in capitals stand for here."""
        return {"RUN": self.row.name, "TASK": self.items.task}

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return ITEMS_KEYS

    # --- what is seen ---------------------------------------------------------------------------------

    def kind_at(self, index: int) -> ItemKind | None:
        """Give the kind in a row of the list; None where an item is."""
        kinds = self.items.shown_kinds
        return kinds[index] if index < len(kinds) else None

    def item_at(self, index: int) -> LostItem | None:
        """Give the item in a row of the list, if it is held."""
        return self.items.items.get(index - len(self.items.shown_kinds))

    def draw_heading(self, index: int) -> str:
        if self.kind_at(index) is not None:
            return "tasks" if not self.items.task else "kinds of items"
        item = self.item_at(index)
        return "" if item is None else "won" if item.won else "lost, the surest on top"

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        kind = self.kind_at(index)
        if kind is not None:
            return kind_line(kind, width, has_cursor=has_cursor)
        item = self.item_at(index)
        if item is None:
            return (("▸" if has_cursor else " ", "reverse" if has_cursor else ""), ("  …", "dim"))
        return flip_line(item, item_widths(width), has_cursor=has_cursor, with_task=not self.items.task)

    def redraw(self) -> None:
        """Write everything again from what is held."""
        items, width = self.items, self.size.width
        self.query_one("#title", Lines).show((title_line(items, self.row, width),))
        rows = len(items.shown_kinds) + items.matching
        head = item_head(item_widths(width), first="item") if rows else ((f"   {empty_words(items)}", "dim"),)
        self.query_one("#head", Lines).show((head,))
        self.query_one(Table).show(rows)
        self.show_pane()

    def show_pane(self) -> None:
        """Write the item under the cursor in a few rows, and what is next."""
        width, at = self.size.width, self.query_one(Table).cursor
        item, kind = self.item_at(at), self.kind_at(at)
        lines: list[Line] = []
        if kind is not None:
            lines = [rule(((clean_line(kind.kind), "bold"),), width)]
            lines.append(
                ((f"   {count(kind.n)} were asked: {count(kind.lost)} lost, {count(kind.won)} won", ""),)
            )
        elif item is not None:
            lines = [
                rule(((clean_line(item.item), "bold"),), width, ((clean_line(item.kind), "dim"), (" ", "")))
            ]
            lines += [
                ((f" {text}", ""),)
                for text in wrapped(item.question or "its text was not kept", width - 2, 3)
            ]
            said = clean_line(item.tuned_answer).strip() or "(nothing)"
            lines.append(((" tuned said  ", "dim"), (said, "")))
        self.query_one("#pane", Lines).show(lines)
        step = (
            "enter",
            "its items alone" if kind is not None else "all of it: answers, choices, when, where else",
        )
        if kind is None and item is None:
            step = ("esc", "drop the filter" if self.items.filter else "back to the table")
        self.query_one(Bottom).offer((next_line(*step),), (*ITEMS_KEYS[:3],))

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.redraw()
        self._wake.set()
        self._load_for_ever()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)
        self._wake.set()

    @on(Table.Moved)
    def _moved(self) -> None:
        self.show_pane()

    @on(Table.Scrolled)
    def _scrolled(self) -> None:
        self._wake.set()

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_open()

    @work
    async def _load_for_ever(self) -> None:
        await load_for_ever(self, self._wake, self._load, self._tell, self.redraw)

    def _tell(self, trouble: str) -> None:
        if trouble:
            self._wants_anew = False
            host_of(self).say(trouble, "red")

    async def _load(self) -> None:
        if self._wants_anew:
            self._wants_anew = not await self.items.load()
            self.query_one(Table).show(len(self.items.shown_kinds) + self.items.matching, 0)
            self.redraw()
            self._wake.set()
            words = f"{count(self.items.matching)} match"
            self.query_one(Bottom).say_aside(((words, "dim"),))
        first, end = self.query_one(Table).rows_in_view()
        above = len(self.items.shown_kinds)
        while await self.items.more(first - above, end - above):
            self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)

    def action_ends(self, direction: int) -> None:
        self.query_one(Table).ends(direction)

    def action_open(self) -> None:
        at = self.query_one(Table).cursor
        kind = self.kind_at(at)
        if kind is not None and not self.items.task:
            self.app.push_screen(ItemsScreen(self.row, kind.kind))
        elif kind is not None:
            self._filter_by(f"kind:{kind.kind.replace(' ', '+')}")
        elif self.item_at(at) is not None:
            from finetop.tui.screens.triage.item_screen import ItemScreen

            self.app.push_screen(ItemScreen(self.row, self.items, at - len(self.items.shown_kinds)))

    def action_back(self) -> None:
        if self.items.filter:
            self._filter_by("")
        else:
            self.dismiss()

    def action_filter(self) -> None:
        self.query_one(Bottom).ask_text(
            "/",
            self.items.filter,
            changed=self._filter_by,
            done=lambda text, is_kept: self._filter_by(text if is_kept else ""),
            keep="keep",
            leave="drop the filter",
        )

    def _filter_by(self, text: str) -> None:
        if text.strip() != self.items.filter:
            self.items.filter = text.strip()
            self._wants_anew = True
            self._wake.set()
