"""The keys f and s of a run, wherever it is listed: check it, go on with more items, find the checkpoint that lost it.

What was decided already is not done again: more is offered, with what it takes named first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.triage import Earlier, EarlierAnswer, LookEarlier, TriageRun
from finetop.core.text import clean_line
from finetop.tui.screens.shared.run_actions import said
from finetop.tui.text import count, counted, cut_end, cut_middle, long_span
from finetop.tui.widgets.frame import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from finetop.core.protocol.messages.triage import TaskFacts, TriageAnswer, TriageRunAnswer
    from finetop.tui.app_interface import Host
    from finetop.tui.line import Line
    from finetop.tui.widgets.frame import Bottom

    Start = Callable[[Coroutine[Any, Any, None]], object]  # has something done beside the screen


async def check(
    bottom: Bottom, host: Host, start: Start, run: str, step: int | None = None, task: str = ""
) -> None:
    """Check a run's checkpoint; where that was done, offer to go on with what is left of a task, or of all."""
    try:
        found: TriageRunAnswer | None = await host.ask(TriageRun(run))
    except FinetopError:  # it was not checked; else the next request is refused for the same reason
        found = None
    if found is None or (found.newest if step is None else step) != found.row.step:
        await order(host, Check(run, step))
        return
    tasks = [one for one in found.tasks[1:] if one.total > one.n and one.mark != "unmeasurable"]
    if not _is_free(bottom):
        return
    if not tasks:
        host.say(
            f"every item was asked of {clean_line(run)} at step {count(found.row.step or 0)}: none is left."
        )
        return

    def answer(key: str, more: list[TaskFacts], words: str, of: list[str]) -> Answer:
        label = f"{words}{price(more, found.item_s)}"
        return Answer(key, label, lambda: start(order(host, Check(run, step, more=of))))

    own = [one for one in tasks if one.task == task]
    name = cut_end(clean_line(task), 24)
    answers = [answer("y", own, f"{count(left(own))} of {name}", [task])] if own else []
    answers.append(answer("a" if own else "y", tasks, f"all {count(left(tasks))}", []))
    words: Line = (
        (f" Ask {cut_middle(clean_line(run), 24)} the items that are left?", "bold"),
        ("  Same claim, narrower interval.", ""),
    )
    bottom.ask(words, answers, leave="leave it")


def _is_free(bottom: Bottom) -> bool:
    """Whether its screen is still the one that is seen, and asks nothing else meanwhile."""
    return bottom.screen.is_current and bottom.question is None


def left(tasks: list[TaskFacts]) -> int:
    """Count the items that were not asked."""
    return sum(one.total - one.n for one in tasks)


def price(tasks: list[TaskFacts], item_s: float | None) -> str:
    """Say about how long what is left of some tasks takes, where that is known."""
    return "" if item_s is None else f", about {long_span(max(1.0, item_s * left(tasks)))}"


async def earlier(bottom: Bottom, host: Host, start: Start, run: str) -> None:
    """Offer to look for the checkpoint that lost it, in as few looks as that needs."""
    try:
        found: EarlierAnswer = await host.ask(Earlier(run))
    except FinetopError as error:
        host.say(str(error), "red")
        return
    if not _is_free(bottom):
        return
    if not found.most:
        host.say(f"{clean_line(run)}: {found.text}")
        return

    def answer(key: str, label: str, *, on: bool) -> Answer:
        return Answer(key, label, lambda: start(order(host, LookEarlier(run, on))))

    each = "" if found.look_s is None else f", each about {long_span(found.look_s)}"
    whole = (
        "" if found.look_s is None or found.most == 1 else f": {long_span(found.most * found.look_s)} in all"
    )
    words: Line = (
        (f" Which of {counted(found.unseen, 'checkpoint')} lost it?", "bold"),
        (f"  {counted(found.most, 'look')} at most{each}{whole}", ""),
    )
    one = [answer("o", "one look", on=False)] if found.most > 1 else []
    bottom.ask(words, [answer("y", "find it", on=True), *one], leave="leave it")


def ask_unchecked(bottom: Bottom, host: Host, start: Start, found: TriageAnswer) -> None:
    """Check the finished runs that have no check; several are asked about."""
    names = found.unchecked
    if len(names) == 1:
        start(order(host, Check(names[0])))
        return
    more = f" (the newest of {count(found.unchecked_total)})" if found.unchecked_total > len(names) else ""
    listed = ", ".join(cut_middle(clean_line(name), 24) for name in names)
    words: Line = ((f" Check {len(names)} runs{more}?", "bold"), (f"  {listed}", ""))

    async def all_of_them() -> None:
        for name in names:
            await order(host, Check(name))

    bottom.ask(words, [Answer("y", "check them", lambda: start(all_of_them()))], leave="leave it")


async def order(host: Host, ask: Check | LookEarlier) -> None:
    """Give an order, and say what came of it."""
    try:
        answer = await host.ask(ask)
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(said(answer))
