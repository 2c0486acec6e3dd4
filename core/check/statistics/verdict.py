"""What is fixed before a check looks, as data, and what its verdict claims, in words.

Scores, drops and margins are shares in [0, 1] (3 points are 0.03); a drop is positive if the tuned model is
worse. Only texts use points. Nothing here imports numpy, so that a screen can draw a result quickly.
"""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.check.statistics.item_order import Item, Key
from finetop.core.protocol.check_result import CheckResult, DecidedBy, Power, TaskResult, Verdict, low_power
from finetop.core.text import counted
from finetop.core.wording.verdicts import finding, on_these_items, points


class PairedItem(msgspec.Struct, frozen=True):
    """One item scored on both models."""

    task: str
    item: str
    cluster: str
    base: float
    tuned: float


class TaskPlan(msgspec.Struct, frozen=True):
    """A task, the metric that decides, and what guessing scores there (1/choices, majority label, or 0).

    Each of its items counts `weight` (> 0) times in the suite's mean; only the ratios of weights matter.
    """

    name: str
    metric: str
    chance: float
    weight: float = 1.0


class Unmeasurable(msgspec.Struct, frozen=True):
    """A task removed before the draw: the base scores too close to chance for a drop to be visible."""

    task: str
    items: int
    base: float
    stderr: float
    chance: float

    @property
    def reason(self) -> str:
        if not self.items:
            return f"{self.task}: no verdict. It has no items."
        is_near = self.base >= self.chance - 3 * self.stderr
        where = "within 3 standard errors of" if is_near else "below"
        scores = f"The base model scores {self.base:.3f}, {where} chance ({self.chance:.3f})"
        return f"{self.task}: no verdict. {scores}; a drop could not be seen."


class CheckPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything fixed before looking: `order` is the permutation, `hash` covers all but `unmeasurable`.

    `alpha` is what this check spends of `alpha_total`, the requested level: all of it if the check is its run's
    only claim (claim 0), a share if it is the k-th (claim k). A `watch` is no claim and spends nothing: it is tested
    at alpha_total.
    """

    margin: float
    alpha: float
    alpha_total: float
    claim: int = 0
    watch: bool = False
    seed: int
    cap: int | None
    look_items: int
    tasks: tuple[TaskPlan, ...]
    order: tuple[Item, ...]
    unmeasurable: tuple[Unmeasurable, ...] = ()
    excluded: tuple[Key, ...] = ()
    hash: str = ""

    @property
    def weighted(self) -> bool:
        """Return whether some tasks' items count more than others'."""
        return len({task.weight for task in self.tasks}) > 1

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a result tells of its plan."""
        same = ("margin", "alpha", "alpha_total", "claim", "watch", "weighted")
        facts = {key: getattr(self, key) for key in same}
        return {**facts, "items_total": len(self.order), "plan_hash": self.hash}


def no_verdict(plan: CheckPlan, reason: str) -> CheckResult:
    """Return NO VERDICT for an external reason: items not joined, models not scored alike."""
    return CheckResult(
        verdict="no_verdict",
        reason=reason,
        claims=standing_of(plan.claim, plan.watch, plan.alpha, plan.alpha_total),
        items_used=0,
        tasks=tuple(left_out(task) for task in plan.unmeasurable),
        **plan.facts,
    )


def left_out(task: Unmeasurable) -> TaskResult:
    """Return an unmeasurable task's row of the results."""
    return TaskResult(
        task=task.task,
        mark="unmeasurable",
        n=0,
        total=task.items,
        base=task.base,
        tuned=None,
        drop=None,
        interval=None,
        reason=task.reason,
    )


def reason_of(
    verdict: Verdict,
    by: DecidedBy,
    plan: CheckPlan,
    used: int,
    drop: float | None,
    tasks: tuple[TaskResult, ...],
) -> str:
    """Return one line: what is proven, on how many items, and which tasks are lost."""
    lost_tasks = [task for task in tasks if task.mark == "lost"]
    limit = f"limit {points(plan.margin)}"
    if verdict == "no_verdict":
        of_items = f"{used:,} of {counted(len(plan.order), 'item')}"
        return f"stopped after {of_items}, before either answer was proven ({limit} points)."
    named = ", ".join(f"{task.task} {points(-(task.drop or 0.0))}" for task in lost_tasks)
    if drop is None or by == "task":
        return f"a task is lost: {named} ({limit}), proven on {counted(sum(task.n for task in lost_tasks), 'item')}."
    side = f"the suite's drop is {'the limit or more' if verdict == 'regressed' else 'under the limit'}"
    if verdict == "regressed" and len(tasks) > 1:
        worst = max(tasks, key=lambda task: task.drop or 0.0)
        alone = f"{worst.task} {points(-(worst.drop or 0.0))}, not proven alone"
        side += f"; lost: {named}" if named else f"; worst: {alone}"
    return f"{finding(drop, plan.margin, used, len(plan.order), weighted=plan.weighted)}: {side}."


def too_few(
    drop: float, items: int, chance: float | None, level: float, more: int | None, *, weighted: bool
) -> str:
    """Return why a drop of the margin or more is no verdict: it may be chance, which shows it so often if known.

    `level` is how often chance may show it at most for a REGRESSED.
    """
    lost = f"lost {points(drop)} points{', weighted,' if weighted else ''} on these {counted(items, 'item')}"
    by_chance = "may be chance"
    if chance is not None:
        by_chance = f"chance alone does {_percent(chance)} of the time (allowed {_percent(level)})"
    needed = "over 20,000" if more is None else f"about {more:,}"
    return f"{lost}, which {by_chance}: {needed} more items would decide it."


def _percent(chance: float) -> str:
    """Format a probability with sensible precision: 13 %, 4.9 %, under 0.1 %."""
    if chance < 0.001:
        return "under 0.1 %"
    return f"{100 * chance:.0f} %" if chance >= 0.095 else f"{100 * chance:.1f} %"


def standing_of(claim: int, watch: bool, alpha: float, alpha_total: float) -> tuple[str, ...]:
    """Return which of its run's claims a check is, in one line; empty for a run's only claim."""
    if watch:
        return ("This is an intermediate check: no claim of the run.",)
    if claim:
        return (f"claim {claim} of this run: {alpha:.2g} of alpha {alpha_total:g} is spent here.",)
    return ()


def claims_of(
    verdict: Verdict,
    by: DecidedBy,
    plan: CheckPlan,
    interval: tuple[float, float],
    proven_drop: bool,
    power: tuple[Power, ...],
    used: int,
    chance: float | None,
) -> tuple[str, ...]:
    """Return what is claimed, and how often wrongly; `chance`: how often an unchanged model loses as much."""
    suite = f"all {counted(len(plan.order), 'item')} of {counted(len(plan.tasks), 'task')}"
    if plan.weighted:
        suite += ", weighted by task,"
    lines = []
    if verdict == "ok":
        lines.append(f"Over {suite} the drop is under {points(plan.margin)} points")
    elif verdict == "regressed" and by != "task":
        lines.append(f"Over {suite} the drop is {points(plan.margin)} points or more")
    elif verdict == "regressed":
        lines.append("A task's ability has fallen, and its estimate is the limit or more")
    if lines and by == "arithmetic":
        is_whole = used == len(plan.order)
        lines[0] += "; all of them were scored." if is_whole else ", whatever the other items show."
    elif lines:
        lines[0] += f"; wrong with probability at most {plan.alpha:.3g}."
    if verdict == "ok" and (weak := low_power(power, plan.margin)):
        sentence = on_these_items(weak)
        lines.append(f"{sentence[0].upper()}{sentence[1:]}.")
    if verdict == "regressed":
        as_much = "" if chance is None else f"; chance alone loses as much {_percent(chance)} of the time"
        error = f"with probability at most {plan.alpha:.3g}{as_much}"
        lines.append(f"An unchanged model is called REGRESSED {error}.")
    lines.extend(standing_of(plan.claim, plan.watch, plan.alpha, plan.alpha_total))
    subject = "Ability (weighted)" if plan.weighted else "Ability"
    between = f"between {points(interval[0])} and {points(interval[1])} points"
    surely = f"at every look at once, with probability {1 - plan.alpha:.4g}"
    lines.append(f"{subject}: the drop lies {between}, {surely}.")
    if proven_drop and verdict == "ok":
        lines.append("A real drop, under your limit.")
    of_items = f"Power of the {counted(used, 'item')} asked"
    for entry in (entry for entry in power if entry.drop > 0):
        caught = f"caught {100 * entry.chance:.0f} % of the time"
        lines.append(f"{of_items}: a true drop of {100 * entry.drop:g} points is {caught}.")
    # a check that stops earlier does so by betting, which keeps to alpha
    for entry in (entry for entry in power if entry.drop == 0 and used == len(plan.order)):
        called = f"called REGRESSED {100 * entry.chance:.1f} % of the time"
        lines.append(f"{of_items}: no change at all is {called}.")
    return tuple(lines)
