"""What a check is asked and what it answers, as data, and the words for it: OK, REGRESSED, NO VERDICT.

Scores, drops and margins are shares in [0, 1] (3 points are 0.03); a drop is positive where the tuned model
is worse. Only words speak of points. Nothing here imports numpy: a screen can draw a result at no cost.
"""

from __future__ import annotations

import msgspec

from finetop.core.check.statistics.item_order import Item, Key
from finetop.core.protocol.check_result import WORDS, DecidedBy, Power, TaskResult, Verdict, points


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
    """A task that left before the draw: the base scores too near to chance for a drop to be seen."""

    task: str
    items: int
    base: float
    stderr: float
    chance: float

    @property
    def reason(self) -> str:
        if not self.items:
            return f"{self.task}: no verdict. It has no items."
        where = (
            f"within 3 standard errors of chance ({self.chance:.3f})"
            if self.base >= self.chance - 3 * self.stderr
            else f"below chance ({self.chance:.3f})"
        )
        scores = f"The base model scores {self.base:.3f}, {where}"
        return f"{self.task}: no verdict. {scores}; a drop could not be seen."


class CheckPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is fixed before looking: `order` is the permutation, `hash` covers all but `unmeasurable`.

    `alpha` is what this check spends of `alpha_total`, what was asked for: all of it where the check is its
    run's only claim (claim 0), a share where it is the k-th (claim k). A `watch` is no claim and spends
    nothing: it is tested at alpha_total.
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
        """Say whether some tasks' items count more than others'."""
        return len({task.weight for task in self.tasks}) > 1


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and all that is shown beside it.

    Numbers of the whole are over the items_used first items of the permutation; items_scored counts further
    ones that a suspicious task was given. base, tuned, drop and interval are weighted by task where the
    suite is; flips and discordance count items. interval is the anytime-valid confidence sequence of the
    ability's drop; proven_drop says that it excludes 0. alpha is what this check spent of alpha_total.
    """

    verdict: Verdict
    reason: str
    decided_by: DecidedBy
    claims: tuple[str, ...]
    margin: float
    alpha: float
    items_used: int
    items_scored: int
    items_total: int
    base: float | None
    tuned: float | None
    drop: float | None
    interval: tuple[float, float] | None
    proven_drop: bool
    lost: int
    won: int
    lost_corrected: float | None
    won_corrected: float | None
    mcnemar_p: float | None
    discordance: float
    power: tuple[Power, ...]
    tasks: tuple[TaskResult, ...]
    plan_hash: str
    alpha_total: float
    claim: int = 0
    watch: bool = False
    weighted: bool = False
    noise_floor: float | None = None

    @property
    def word(self) -> str:
        return WORDS[self.verdict]

    @property
    def real_drop_under_limit(self) -> bool:
        """Say whether the ability has fallen for certain, by less than the limit."""
        return self.verdict == "ok" and self.proven_drop


def no_verdict(plan: CheckPlan, reason: str, *, items_scored: int = 0) -> CheckResult:
    """Answer NO VERDICT for a reason from outside: items not joined, models not scored alike."""
    return CheckResult(
        verdict="no_verdict",
        reason=reason,
        decided_by="",
        claims=standing_of(plan.claim, plan.watch, plan.alpha, plan.alpha_total),
        margin=plan.margin,
        alpha=plan.alpha,
        items_used=0,
        items_scored=items_scored,
        items_total=len(plan.order),
        base=None,
        tuned=None,
        drop=None,
        interval=None,
        proven_drop=False,
        lost=0,
        won=0,
        lost_corrected=None,
        won_corrected=None,
        mcnemar_p=None,
        discordance=0.0,
        power=(),
        tasks=tuple(left_out(task) for task in plan.unmeasurable),
        plan_hash=plan.hash,
        alpha_total=plan.alpha_total,
        claim=plan.claim,
        watch=plan.watch,
        weighted=plan.weighted,
    )


def left_out(task: Unmeasurable) -> TaskResult:
    """Give an unmeasurable task its row among the results."""
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
    """Say in one line what is proven, on how many items, and which tasks are lost."""
    lost_tasks = [task for task in tasks if task.mark == "lost"]
    of_items = f"{used:,} of {len(plan.order):,} items"
    limit = f"limit {points(plan.margin)}"
    if verdict == "no_verdict":
        return f"stopped after {of_items}, before either answer was proven ({limit} points)."
    named = ", ".join(f"{task.task} {points(-(task.drop or 0.0))}" for task in lost_tasks)
    if drop is None or by == "task":
        return f"a task is lost: {named} ({limit}), proven on {sum(task.n for task in lost_tasks):,} items."
    weighted = ", weighted by task" if plan.weighted else ""
    change = f"{points(abs(drop))} points {'lost' if drop >= 0 else 'gained'}{weighted}"
    how = "certain" if by == "arithmetic" else "proven"
    side = (
        "the suite's drop is the limit or more"
        if verdict == "regressed"
        else "the suite's drop is under the limit"
    )
    if verdict == "regressed" and len(tasks) > 1:
        worst = max(tasks, key=lambda task: task.drop or 0.0)
        alone = f"{worst.task} {points(-(worst.drop or 0.0))}, not proven alone"
        side += f"; lost: {named}" if named else f"; worst: {alone}"
    return f"{change} ({limit}), {how} on {of_items}: {side}."


def standing_of(claim: int, watch: bool, alpha: float, alpha_total: float) -> tuple[str, ...]:
    """Say what part a check has in its run's claims, in one line; nothing for a run's only claim."""
    if watch:
        return ("watch: a look on the way, no claim.",)
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
) -> tuple[str, ...]:
    """Write out what is claimed, about what, and how often such a claim is wrong."""
    tasks = len(plan.tasks)
    suite = f"all {len(plan.order):,} items of {tasks} task{'s' if tasks != 1 else ''}"
    if plan.weighted:
        suite += ", weighted by task,"
    lines = []
    if verdict == "ok":
        lines.append(f"Over {suite} the drop is under {points(plan.margin)} points")
    elif verdict == "regressed" and by != "task":
        lines.append(f"Over {suite} the drop is {points(plan.margin)} points or more")
    elif verdict == "regressed":
        lines.append("A task's ability has fallen, and its estimate is the limit or more")
    if lines:
        certain = by == "arithmetic"
        lines[0] += (
            "; arithmetic, not a guess." if certain else f"; wrong with probability at most {plan.alpha:.3g}."
        )
    lines.extend(standing_of(plan.claim, plan.watch, plan.alpha, plan.alpha_total))
    low, high = interval
    lines.append(
        f"Ability{' (weighted)' if plan.weighted else ''}: the drop lies between {points(low)} and"
        f" {points(high)} points, at every look at once, with probability {1 - plan.alpha:.4g}."
    )
    if proven_drop and verdict == "ok":
        lines.append("A real drop, under your limit.")
    lines.extend(
        f"An ability drop of {points(entry.drop)} points would be caught in {100 * entry.chance:.0f} %"
        " of suites like this."
        for entry in power
        if entry.drop > 0
    )
    lines.extend(
        f"No change at all would be called REGRESSED in {100 * entry.chance:.1f} % of suites like this."
        for entry in power
        if entry.drop == 0
    )
    return tuple(lines)
