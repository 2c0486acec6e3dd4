"""A check's result as data: one struct from the statistics to the screen.

Shares are in [0, 1]; a drop is positive if the tuned model is worse. A result is stored and sent as plain data (the
Verdict event's `result`); `read` restores its types. Its texts are in core/wording/verdicts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from finetop.core.protocol.runs import CheckBrief, TaskBrief

FORMAT = 1
MARGIN = 3.0  # points: the default drop that counts as forgetting
ALPHA = 0.05  # the highest probability of a wrong verdict, likewise
LOWER_IS_BETTER = ("nats_per_token",)

Metric = Literal["nats_per_token", "exact_match", "token_f1", "rules"]  # of a target
Verdict = Literal["ok", "regressed", "no_verdict"]
Mark = Literal["lost", "kept", "open", "unmeasurable"]
DecidedBy = Literal["", "betting", "arithmetic", "task"]


class TargetScore(msgspec.Struct, frozen=True):
    """A metric of the target; low to high bounds tuned - base (95 %), from the paired rows."""

    base: float
    tuned: float
    low: float
    high: float
    rows: int = 0  # for plain text windows, cut from `texts` documents
    texts: int = 0


class Drift(msgspec.Struct, frozen=True):
    """Nats per token on general text; `kl` is KL(base || tuned), if one model in memory served as both."""

    base: float
    tuned: float
    tokens: int = 0
    kl: float | None = None


class NoiseFloor(msgspec.Struct, frozen=True):
    """The base against itself in other batches; and another engine's answers against those of `exact`."""

    items: int
    flips: int
    engine: str = ""  # empty: `exact` wrote them
    answers: int = 0
    answers_flipped: int = 0


class Contamination(msgspec.Struct, frozen=True):
    """Benchmark items that the training data contains; they are left out before the draw."""

    items: int
    by_task: dict[str, int] = {}


class Flip(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item whose score changed, as stored in a result; the store adds the fields after `choices`."""

    task: str
    item: str
    category: str
    question: str
    gold: str
    base: float
    tuned: float
    base_answer: str
    tuned_answer: str
    choices: tuple[str, ...] = msgspec.field(default_factory=tuple)  # empty: a free-text answer
    base_log_prob: float | None = None
    tuned_log_prob: float | None = None
    base_margin: float | None = None  # the gold answer's lead over the best other answer, in nats
    tuned_margin: float | None = None
    since: int | None = None  # first checked step from which it is lost in every later check
    also: int = 0  # other runs of the same base that lost it

    @property
    def won(self) -> bool:
        """Whether the tuned model does better on it."""
        return self.tuned > self.base


class Category(msgspec.Struct, frozen=True):
    """Flips of one category of a task."""

    task: str
    category: str
    n: int
    lost: int
    won: int


class Power(msgspec.Struct, frozen=True):
    """How often this many items with this many flips would be REGRESSED if the ability fell by `drop`."""

    drop: float
    chance: float


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """One task: n of total items seen, means over those (None if n is 0), and the mark.

    An unmeasurable task has the base's mean over all its items.

    e_value is the strongest evidence at any look against "the ability did not fall"; its inverse is an anytime-valid
    p-value. Nothing here is weighted; `weight` is what each item counts in the whole.
    """

    task: str
    mark: Mark
    n: int
    total: int
    base: float | None
    tuned: float | None
    drop: float | None
    interval: tuple[float, float] | None
    lost: int = 0
    won: int = 0
    lost_corrected: float | None = None
    won_corrected: float | None = None
    mcnemar_p: float | None = None
    e_value: float | None = None
    reason: str = ""
    weight: float = 1.0


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and everything shown with it.

    Numbers of the whole are over the first items_used items of the permutation; items_scored includes further ones
    scored for a suspicious task. base, tuned, drop and interval are weighted by task if the suite is; flips and
    discordance count items. suite_interval bounds the drop over all items of the suite, on which the verdict is based;
    None in older results. interval is the anytime-valid confidence sequence of the ability's drop, which does not
    decide the verdict; proven_drop: it excludes 0. alpha is what this check spent of alpha_total. chance is how often
    an unchanged model loses as much, if every item was scored and at least the margin was lost.
    """

    verdict: Verdict
    reason: str
    decided_by: DecidedBy = ""
    claims: tuple[str, ...] = ()
    margin: float
    alpha: float = 0.05  # not ALPHA: a result that was kept stays what it was
    items_used: int
    items_scored: int = 0
    items_total: int
    base: float | None = None
    tuned: float | None = None
    drop: float | None = None
    interval: tuple[float, float] | None = None
    suite_interval: tuple[float, float] | None = None
    proven_drop: bool = False
    lost: int = 0
    won: int = 0
    lost_corrected: float | None = None
    won_corrected: float | None = None
    mcnemar_p: float | None = None
    chance: float | None = None
    discordance: float = 0.0
    power: tuple[Power, ...] = ()
    tasks: tuple[TaskResult, ...] = ()
    plan_hash: str = ""
    alpha_total: float = 0.05
    claim: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    watch: bool = False
    weighted: bool = False
    noise_floor: NoiseFloor | None = None
    format: int = FORMAT
    suite: str = ""
    target: dict[str, TargetScore] = {}
    target_failed: str = ""  # why the target, or one of its metrics, could not be measured
    drift: Drift | None = None
    contamination: Contamination = Contamination(0)
    notes: tuple[str, ...] = ()
    flips: tuple[Flip, ...] = ()
    categories: tuple[Category, ...] = ()
    models: dict[str, dict[str, Any]] = {}
    seconds: float = 0.0
    step: int | None = None
    checkpoint: str = ""
    general: dict[str, Any] = {}  # check.general as used: suite, margin, alpha, seed

    @property
    def deciding_interval(self) -> tuple[float, float] | None:
        """Return the interval of the drop on which the verdict is based; it never contradicts the verdict.

        None if the verdict has another basis: a task that is lost, a drop that may be chance.
        """
        bounds = self.suite_interval
        if bounds is None and self.drop is not None and self.items_used == self.items_total:
            bounds = (self.drop, self.drop)
        if bounds is None or self.decided_by == "task":
            return None
        is_open = bounds[0] < self.margin <= bounds[1]
        return bounds if is_open == (self.verdict == "no_verdict") else None

    @property
    def real_drop(self) -> bool:
        """Whether the ability certainly fell, but by less than the limit."""
        return self.verdict == "ok" and self.proven_drop

    @property
    def low_power(self) -> Power | None:
        """Return the power for twice the margin if an OK is based on too few items to say much about the model."""
        return low_power(self.power, self.margin) if self.verdict == "ok" else None


LOW_POWER = 0.8  # an OK that catches a drop of twice the margin less often speaks of its items alone
FELL = 10.0  # points: a task that lost this many is named, whatever the verdict on the whole


def twice(margin: float) -> float:
    """Return twice the margin as the decimal that is printed: 0.06, even where 2 * 0.03 would differ."""
    return round(2 * margin, 9)


def low_power(power: Iterable[Power], margin: float) -> Power | None:
    """Return the power for a drop of twice the margin, if it is known and low."""
    return next((entry for entry in power if entry.drop == twice(margin) and entry.chance < LOW_POWER), None)


def read(result: Mapping[str, Any]) -> CheckResult:
    """Convert a plain result to typed data; unknown keys are ignored. Raises msgspec.ValidationError."""
    return msgspec.convert(dict(result), CheckResult)


def worst_first(result: CheckResult) -> tuple[TaskResult, ...]:
    """Sort the tasks by drop, largest first; unmeasurable ones come last."""
    return tuple(sorted(result.tasks, key=lambda task: (task.drop is None, -(task.drop or 0.0), task.task)))


def tasks_worst_first(checks: Iterable[Iterable[tuple[str, str, float | None]]]) -> list[str]:
    """Sort tasks, given as (task, mark, drop) of each check: proven losses first, then by the largest drop."""
    worst: dict[str, tuple[bool, float]] = {}
    for tasks in checks:
        for task, mark, drop in tasks:
            badness = (mark == "lost", float("-inf") if drop is None else drop)
            worst[task] = max(worst.get(task, badness), badness)
    return sorted(worst, key=lambda task: (not worst[task][0], -worst[task][1], task))


def brief(
    check_id: int,
    at: float,
    step: int | None,
    result: Mapping[str, Any],
    accepted: str = "",
    fixed_by: str = "",
    accepted_for: str = "",
) -> CheckBrief:
    """Summarize a result for a list of runs, in points of 100."""
    checked = read(result)
    return CheckBrief(
        check_id=check_id,
        verdict=checked.verdict,
        reason=checked.reason,
        step=step,
        drop=None if checked.drop is None else 100 * checked.drop,
        margin=100 * checked.margin,
        real_drop=checked.real_drop,
        items_used=checked.items_used,
        items_total=checked.items_total,
        suite=checked.suite,
        at=at,
        worst=[TaskBrief(task.task, 100 * (task.drop or 0.0), task.mark) for task in worst_first(checked)],
        target={metric: [score.base, score.tuned] for metric, score in checked.target.items()},
        accepted=accepted,
        accepted_for=accepted_for,
        fixed_by=fixed_by,
        claim=checked.claim,
        watch=checked.watch,
        target_failed=checked.target_failed,
    )
