"""The keys f and s of a run on any screen: check it or more of its items, find the checkpoint that lost it."""

from __future__ import annotations

from typing import Any

from finetop.core.errors import FinetopError
from finetop.core.features.triage.messages import TaskFacts, TriageAnswer, TriageRun, TriageRunAnswer
from finetop.core.protocol.messages.bisect import Earlier, EarlierAnswer, LookEarlier
from finetop.core.protocol.messages.checks import Check
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import long_span
from finetop.tui.app_interface import host_of, show_refusals
from finetop.tui.screens.shared.run_actions import send
from finetop.tui.text import Line, cut_end, cut_middle
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Answer


async def check(
    screen: AppScreen[Any], run: str, step: int | None = None, task: str = "", *, again: bool = False
) -> None:
    """Check a run's checkpoint, `again` what failed; if it was checked, offer the remaining items, also of a task."""
    host = host_of(screen)
    if again and step is None:
        await send(host, Check(run))
        return
    try:
        checked: TriageRunAnswer | None = await host.ask(TriageRun(run))
    except FinetopError:  # not checked yet; any other cause refuses the next request too
        checked = None
    asked_step = step if checked is None or step is not None else checked.newest
    if checked is None or asked_step != checked.row.step or checked.weights_now != "same":
        await send(host, Check(run, step))
        return
    tasks = [facts for facts in checked.tasks[1:] if facts.total > facts.n and facts.mark != "unmeasurable"]
    if not screen.is_free:
        return
    if not tasks:
        at = count(checked.row.step or 0)
        host.say(f"all items of {clean_line(run)} at step {at} are already checked.")
        return

    def answer(key: str, more: list[TaskFacts], count_text: str, of: list[str]) -> Answer:
        label = f"{count_text}{price(more, checked.item_s)}"
        return Answer(key, label, lambda: screen.run_worker(send(host, Check(run, step, more=of))))

    task_facts = [facts for facts in tasks if facts.task == task]
    of_task = f"{count(items_left(task_facts))} of {cut_end(clean_line(task), 24)}"
    answers = [answer("y", task_facts, of_task, [task])] if task_facts else []
    answers.append(answer("a" if task_facts else "y", tasks, f"all {count(items_left(tasks))}", []))
    rest = f" Check the remaining {counted(items_left(tasks), 'item')}?"
    question: Line = ((rest, "bold"), ("  Same verdict, tighter interval.", ""))
    screen.bottom.ask(question, answers, leave="cancel")


def items_left(tasks: list[TaskFacts]) -> int:
    """Return the number of unchecked items."""
    return sum(task.total - task.n for task in tasks)


def price(tasks: list[TaskFacts], item_s: float | None) -> str:
    """Return the expected time for the remaining items of some tasks, if known."""
    return "" if item_s is None else f", about {long_span(max(1.0, item_s * items_left(tasks)))}"


async def ask_bisection(screen: AppScreen[Any], run: str) -> None:
    """Offer to find the checkpoint that lost it by bisection."""
    host = host_of(screen)
    with show_refusals(host):
        bisection: EarlierAnswer = await host.ask(Earlier(run))
        if screen.is_free and bisection.most:
            _ask_to_bisect(screen, run, bisection)
        elif screen.is_free:
            host.say(f"{clean_line(run)}: {bisection.text}")


def _ask_to_bisect(screen: AppScreen[Any], run: str, bisection: EarlierAnswer) -> None:
    host = host_of(screen)

    def answer(key: str, label: str, *, on: bool) -> Answer:
        return Answer(key, label, lambda: screen.run_worker(send(host, LookEarlier(run, on))))

    about = "" if bisection.look_s is None else f", about {long_span(bisection.most * bisection.look_s)}"
    what = f" Which of {counted(bisection.unseen, 'checkpoint')} lost it?"
    question: Line = ((what, "bold"), (f"  {counted(bisection.most, 'check')} at most{about}", ""))
    single = [answer("o", "one check", on=False)] if bisection.most > 1 else []
    screen.bottom.ask(question, [answer("y", "find it", on=True), *single], leave="cancel")


def ask_unchecked(screen: AppScreen[Any], table: TriageAnswer) -> None:
    """Check the finished runs that have no check; ask first if there are several."""
    host = host_of(screen)
    names = table.unchecked
    if len(names) == 1:
        screen.run_worker(send(host, Check(names[0])))
        return
    more = f" (the newest of {count(table.unchecked_total)})" if table.unchecked_total > len(names) else ""
    listed = ", ".join(cut_middle(clean_line(name), 24) for name in names)
    question: Line = ((f" Check {len(names)} runs{more}?", "bold"), (f"  {listed}", ""))

    async def all_of_them() -> None:
        for name in names:
            await send(host, Check(name))

    answer = Answer("y", "check them", lambda: screen.run_worker(all_of_them()))
    screen.bottom.ask(question, [answer], leave="cancel")
