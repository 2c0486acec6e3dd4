"""The items behind one cell of triage: their kinds, then lost and won items, and the one under the cursor."""

from __future__ import annotations

from textual.app import ComposeResult

from finetop.core.features.triage.messages import ItemKind, TriageRow
from finetop.core.protocol.check_result import Flip
from finetop.core.text import clean_line, count, counted
from finetop.tui.app_interface import host_of
from finetop.tui.keys import MATCH, Key
from finetop.tui.screens.triage.item_screen import ItemScreen
from finetop.tui.screens.triage.keys import ITEM, ITEMS_BACK, ITEMS_FILTER, ITEMS_KEYS
from finetop.tui.screens.triage.pane import NARROW, ItemWidths, item_head, item_line, item_widths
from finetop.tui.screens.triage.state import Items
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, paragraph, rule, spread
from finetop.tui.theme import MARKS
from finetop.tui.widgets.bar import share_bar
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table, waiting_line


class ItemsScreen(ListScreen, inherit_bindings=False):
    """The kinds and items of one cell. Enter on a kind lists its items, on an item opens it."""

    CSS_PATH = "items_screen.tcss"
    KEYS = ITEMS_KEYS
    TITLE = "Items"

    def __init__(self, row: TriageRow, task: str, text: str = "") -> None:
        super().__init__()
        self.row = row
        self.items = self.listed = Items(lambda ask: host_of(self).ask(ask), row.name, task, text)
        self._read: ItemScreen | None = None  # the last opened item; it can move on to others

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="title", box="top")
        yield Lines(id="head", box="sides")
        yield Table(self.draw_row, self.draw_heading, id="items", box="low")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    def to_fill(self) -> dict[str, str]:
        return {"RUN": self.row.name, "TASK": self.items.task}

    # --- what is seen ---------------------------------------------------------------------------------

    def kind_at(self, index: int) -> ItemKind | None:
        """Return the kind at a row of the list; None if that row is an item."""
        kinds = self.items.shown_kinds
        return kinds[index] if index < len(kinds) else None

    def item_at(self, index: int) -> Flip | None:
        """Return the item at a row of the list, if it is loaded."""
        return self.items.items.get(index - len(self.items.shown_kinds))

    def draw_heading(self, index: int) -> str:
        if self.kind_at(index) is not None:
            return "tasks" if not self.items.task else "kinds of items"
        item = self.item_at(index)
        return "" if item is None else "won" if item.won else "lost, most certain first"

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        kind = self.kind_at(index)
        if kind is not None:
            return kind_line(kind, width, has_cursor=has_cursor)
        item = self.item_at(index)
        if item is None:
            return waiting_line(has_cursor=has_cursor)
        return flip_line(item, item_widths(width), has_cursor=has_cursor, with_task=not self.items.task)

    def redraw(self) -> None:
        items, width = self.items, self.query_one("#title", Lines).room.width
        self.query_one("#title", Lines).show((title_line(items, self.row, width),))
        rows = len(items.shown_kinds) + items.matching
        head = item_head(item_widths(width), first="item") if rows else ((f"   {empty_words(items)}", "dim"),)
        self.query_one("#head", Lines).show((head,))
        self.query_one(Table).show(rows)
        self.show_pane()

    def show_pane(self) -> None:
        width, at = self.query_one("#pane", Lines).room.width, self.query_one(Table).cursor
        item, kind = self.item_at(at), self.kind_at(at)
        lines: list[Line] = []
        if kind is not None:
            lines = [rule(((clean_line(kind.kind), "bold"),), width)]
            lines.append(((f"   {count(kind.n)} asked: {count(kind.lost)} lost, {count(kind.won)} won", ""),))
        elif item is not None:
            kind_words: Line = ((clean_line(item.category), "dim"), (" ", ""))
            lines = [rule(((clean_line(item.item), "bold"),), width, kind_words)]
            lines += paragraph(item.question or "text not kept", width, 3)
            answer = clean_line(item.tuned_answer).strip() or "(nothing)"
            lines.append(((" tuned said  ", "dim"), (answer, "")))
        self.query_one("#pane", Lines).show(lines)
        step = ("enter", "the whole item: answers, choices, steps, other runs")
        if kind is not None:
            step = ("enter", "only its items")
        elif item is None:
            step = ("esc", "clear the filter" if self.items.filter else "back to the table")
        self.bottom.offer((next_line(*step),), footer_keys(is_filtered=bool(self.items.filter)))

    # --- what happens ---------------------------------------------------------------------------------

    def resume(self) -> None:
        """Keep the list: a check's lost items do not change while one of them is read."""
        if self._read is not None:
            self.query_one(Table).go(len(self.items.shown_kinds) + self._read.at)
        self._wake.set()

    async def _load_list(self, run: str) -> bool:
        is_shown = await self.items.load()
        above = len(self.items.shown_kinds)
        place = 0 if self._read is None or self.items.filter else above + self._read.at
        self.query_one(Table).show(above + self.items.matching, place)
        self.bottom.say_aside(((f"{count(self.items.matching)} match", "dim"),))
        return is_shown

    async def _refresh_list(self) -> None:
        if self.items.answer is None:
            self.load_anew()

    async def _load_in_view(self) -> None:
        first, end = self.query_one(Table).rows_in_view()
        above = len(self.items.shown_kinds)
        while await self.items.more(first - above, end - above):
            self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def action_open(self) -> None:
        at = self.query_one(Table).cursor
        kind = self.kind_at(at)
        if kind is not None and not self.items.task:
            self.app.push_screen(ItemsScreen(self.row, kind.kind))
        elif kind is not None:
            self.filter_by(f"kind:{kind.kind.replace(' ', '+')}")
        elif self.item_at(at) is not None:
            self.open_item(at - len(self.items.shown_kinds))

    def open_item(self, at: int) -> None:
        self._read = ItemScreen(self.row, self.items, at)
        self.app.push_screen(self._read)

    def action_back(self) -> None:
        if self.items.filter:
            self.filter_by("")
        else:
            self.dismiss()

    def filter_by(self, text: str) -> None:
        if text.strip() != self.items.filter:  # else the cursor stays where it is
            super().filter_by(text)


def footer_keys(*, is_filtered: bool) -> tuple[Key, ...]:
    """Return the footer keys of the list, the most used first."""
    return (ITEM, *((MATCH,) if is_filtered else ()), ITEMS_FILTER, ITEMS_BACK)


def title_line(items: Items, row: TriageRow, width: int) -> Line:
    """Return the title: the run and task of the items, and how many were lost and won."""
    name = cut_middle(clean_line(row.shown_name), 26)
    task_words = cut_end(clean_line(items.task), 20) or "all tasks"
    left: Line = ((f" {task_words}", "bold"), (" in ", ""), (name, "bold"))
    if items.answer is not None:
        left = (*left, (f"   {count(items.answer.lost)} lost, {count(items.answer.won)} won", ""))
    if not items.filter:
        return spread(left, (("/", "key"), (" filter ", "dim")), width)
    filter_text = f" {cut_middle(clean_line(items.filter), 24)}: {count(items.matching)} match "
    return spread(left, (("/", "key"), (filter_text, "bold")), width)


def kind_line(kind: ItemKind, width: int, *, has_cursor: bool) -> Line:
    """Draw one kind of items with its numbers lost and won."""
    name = cut_end(clean_line(kind.kind).replace("_", " "), 24)
    bar = share_bar(kind.lost / max(1, kind.n), 12, "red") if width >= NARROW else ()
    line: Line = (cursor_mark(has_cursor), ("  ", ""), (f"{name:<26}", "bold" if has_cursor else ""))
    won = f"   {kind.won} won" if kind.won else ""
    return (*line, (f"{kind.lost:>5} lost of {kind.n:<6}", ""), *bar, (won, "dim"))


def flip_line(item: Flip, widths: ItemWidths, *, has_cursor: bool, with_task: bool) -> Line:
    """Draw one item with a mark for lost or won."""
    gutter, _, *rest = item_line(item, widths, has_cursor=has_cursor, with_task=with_task)
    mark = MARKS["finished"] if item.won else MARKS["accepted"]
    return (gutter, (f"{mark.mark} ", ""), *rest)


def empty_words(items: Items) -> str:
    """Return why there is no item."""
    if items.answer is None:
        return "loading …"
    if items.filter:
        return f"0 of {counted(items.answer.lost + items.answer.won, 'item')} match"
    return "no answer changed."
