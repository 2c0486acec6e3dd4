"""One item of triage in full; up and down go through the other items of its list."""

from __future__ import annotations

from contextlib import suppress

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.css.query import NoMatches

from finetop.core.features.chat.messages import ChatSide, lost_item
from finetop.core.features.triage.messages import ItemAnswer, ItemKind, LookAtItem, TriageRow
from finetop.core.protocol.check_result import Flip
from finetop.core.text import clean_line, count
from finetop.tui.app_interface import ChatStart, host_of, show_refusals
from finetop.tui.keys import NO_MORE, rows_of
from finetop.tui.screens.triage.keys import ITEM_KEYS
from finetop.tui.screens.triage.state import Items
from finetop.tui.text import Line, cut_end, cut_middle, labelled, padded, paragraph, rule
from finetop.tui.theme import MARKS, StyleName
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines

NO_KIND = ItemKind("", 0, 0, 0)
_LABEL = 11
_KEPT = 500  # characters of an answer that a check keeps
_QUESTION_ROWS = 14


class ItemScreen(AppScreen[None], inherit_bindings=False):
    """An item's question, choices and answers; when training lost it, and which other runs lost it."""

    CSS_PATH = "item_screen.tcss"
    KEYS = ITEM_KEYS
    TITLE = "Item"
    COPIES_LINES = True

    def __init__(self, row: TriageRow, items: Items, at: int) -> None:
        super().__init__()
        self.row, self.items, self.at = row, items, at
        self.known: dict[int, ItemAnswer] = {}
        self.top = 0  # the first row in view if the item is longer than the screen

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="title", box="top")
        yield Lines(id="item", box="low")
        yield Bottom()

    def to_copy(self) -> str:
        item = self.items.items.get(self.at)
        if item is None:
            return ""
        return f"{item.question}\nbase: {item.base_answer}\ntuned: {item.tuned_answer}"

    def redraw(self) -> None:
        item, width = self.items.items.get(self.at), self.query_one("#item", Lines).room.width
        if item is None:
            return
        place = (self.at, self.items.matching)
        self.query_one("#title", Lines).show((title_line(item, self.row, place, width),))
        body = self.query_one("#item", Lines)
        known = self.known.get(self.at)
        lines = item_lines(known or ItemAnswer(item, [], [], [], [], NO_KIND), width)
        self.top = min(self.top, max(0, len(lines) - body.room.height))
        body.show(lines[self.top :])
        more = len(lines) - self.top > body.room.height
        step = ("↓", "next item") if self.at + 1 < self.items.matching else ("esc", "back to the items")
        step = ("pgdn", "scroll down") if more else step
        self.bottom.offer((next_line(*step),), ITEM_KEYS)

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
        """Load an item in full, and more of the list if it is beyond its end."""
        host = host_of(self)
        with show_refusals(host), suppress(NoMatches):  # the answer came while the screen was being closed
            if at not in self.items.items:
                await self.items.more(at, at + 1)
                self.redraw()
            item = self.items.items.get(at)
            if item is not None and at not in self.known:
                self.known[at] = await host.ask(LookAtItem(self.row.name, item.task, item.item))
                self.redraw()

    def action_move(self, by: int) -> None:
        at = min(max(0, self.at + by), max(0, self.items.matching - 1))
        if at != self.at:
            self._show(at)

    def action_chat(self) -> None:
        """Put the item to the checked model and its base, as the check did."""
        item, row = self.items.items.get(self.at), self.row
        if item is None or not item.question:
            host_of(self).say("the text of this item was not kept.")
            return
        at_hand = lost_item(item.task, item.item, item.question, item.gold, len(item.choices))
        model = None
        if row.step is not None:
            model = ChatSide(f"step {count(row.step)}", "checkpoint", step=row.step)
        host_of(self).open_chat(row.name, ChatStart(model, at_hand))

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * self.items.matching)

    def action_page(self, pages: float) -> None:
        before = self.top
        self.top = max(0, self.top + rows_of(pages, self.query_one("#item", Lines).room.height))
        self.redraw()
        if self.top == before:
            host_of(self).say(NO_MORE)


def title_line(item: Flip, row: TriageRow, place: tuple[int, int], width: int) -> Line:
    """Return the title: the item's task, kind, and place in the list."""
    at, of = place
    path = " > ".join(filter(None, (cut_end(clean_line(part), 20) for part in (item.task, item.category))))
    where = f" > item {count(at + 1)} of {count(of)}, {'won' if item.won else 'lost'}   in "
    return ((f" {path}", "bold"), (where, ""), (cut_middle(clean_line(row.shown_name), 24), "bold"))


def item_lines(known: ItemAnswer, width: int) -> list[Line]:
    """Return an item in full, as many rows as it needs."""
    item = known.item
    lines = [rule((("question", ""),), width, ((clean_line(item.item), "dim"), (" ", "")))]
    question = item.question or "text not kept: a check keeps the texts of its 300 most certain changes"
    lines += paragraph(question, width, _QUESTION_ROWS, style="" if item.question else "dim")
    lines += [(), *_choices(known, width), *_answers(item, width), (), *_beside(known, width)]
    whole = item.tuned_answer
    if cell_len(clean_line(whole)) > _answer_width(width):
        cut = f", first {_KEPT} characters" if len(whole) >= _KEPT else ", whole"
        lines += [(), rule((("tuned model's answer", ""), (cut, "dim")), width)]
        lines += paragraph(whole, width, 40)
    return lines


def _choices(known: ItemAnswer, width: int) -> list[Line]:
    if not known.choices:
        return []
    item = known.item
    answers = {"gold": item.gold, "base": item.base_answer, "tuned": item.tuned_answer}
    lines: list[Line] = []
    for at, choice in enumerate(known.choices):
        takers = [taker for taker, answer in answers.items() if answer.strip() == choice.strip() != ""]
        label = "choices" if not at else ""
        text = cut_end(clean_line(choice).strip(), max(12, width - _LABEL - 24))
        takers_text = f"   {', '.join(takers)}" if takers else ""
        style: StyleName = "bold" if "gold" in takers else ""
        lines.append(((f" {label:<{_LABEL - 1}}", "dim"), (text, style), (takers_text, "dim")))
    return [*lines, ()]


def _answer_width(width: int) -> int:
    return max(16, width - _LABEL - 24)


def _answers(item: Flip, width: int) -> list[Line]:
    room = _answer_width(width)
    rows = (
        ("gold", item.gold, None, None, None),
        ("base", item.base_answer, item.base_log_prob, item.base_margin, not item.won),
        ("tuned", item.tuned_answer, item.tuned_log_prob, item.tuned_margin, item.won),
    )
    is_choice = any(log_prob is not None for _, _, log_prob, _, _ in rows)
    numbered = f"{'log p':>8}{'margin':>9}" if is_choice else ""
    lines: list[Line] = [((f" {'':<{_LABEL - 1}}{'answer':<{room}}{numbered}", "dim"),)]
    for label, answer, log_prob, margin, is_better in rows:
        if label == "gold" and not answer.strip():
            continue  # scored by a rule, so there is no gold answer
        text = cut_end(clean_line(answer).strip() or "(nothing)", room - 2)
        mark = None if is_better is None else MARKS["finished" if is_better else "accepted"]
        numbers = f"{_signed(log_prob, '.1f'):>8}{_signed(margin, '+.1f'):>9}"
        numbers += f"   {mark.mark}" if mark is not None else ""
        style: StyleName = "bold" if label == "tuned" else ""
        lines.append(((f" {label:<{_LABEL - 1}}", "dim"), (padded(text, room), style), (numbers, "")))
    return lines


def _signed(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _beside(known: ItemAnswer, width: int) -> list[Line]:
    lines = []
    if len(known.steps) > 2:
        marks = {True: MARKS["accepted"].mark, False: MARKS["finished"].mark}
        named = [("base" if step is None else count(step), is_lost) for step, is_lost in known.steps]
        text = "   ".join(f"{name} {marks[is_lost]}" for name, is_lost in named)
        lines += labelled("steps", text, width, cells=_LABEL, rows=4)
    elsewhere = sum(lost for _, lost, _ in known.methods)
    asked_count = sum(asked_count for _, _, asked_count in known.methods)
    is_won = known.item.won
    also = ""
    if elsewhere:
        more = elsewhere - len(known.also)
        names = ", ".join(cut_middle(clean_line(name), 24) for name in known.also)
        names += f", +{more}" if more else ""
        how = ", ".join(f"{lost} of {of} {clean_line(method)}" for method, lost, of in known.methods if of)
        also = f"{'lost in' if is_won else 'by'} {names}  ({how})"
    elif asked_count:
        also = f"{'no other run lost it' if is_won else 'in no other run'} ({count(asked_count)} asked)"
    if also:
        lines += labelled("elsewhere" if is_won else "also lost", also, width, cells=_LABEL, rows=4)
    kind = known.of_kind
    if kind.kind and kind.n > 1:
        name = clean_line(kind.kind).replace("_", " ")
        similar_won = f"{kind.won} of {kind.n} items of this kind ({name}) are won"
        text = similar_won if is_won else f"{kind.lost} of {kind.n} items of this kind ({name}) are lost"
        lines += labelled("similar", text, width, cells=_LABEL, rows=4)
    return lines
