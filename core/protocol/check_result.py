"""A check's result as data and in words: the one place that app and command line take both from.

A result travels as plain data (the Verdict event's `result`); `read` gives it types again. Shares are in [0,
1]; words speak of points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from finetop.core.protocol.runs import CheckBrief, TaskBrief
from finetop.core.text import clean, clean_line

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
LOWER_IS_BETTER = ("nats_per_token",)
MARKS = {"lost": "✗", "kept": "✓", "open": "?", "unmeasurable": "-"}


class TargetScore(msgspec.Struct, frozen=True):
    """A metric of the target; low to high bounds tuned - base (95 %)."""

    base: float
    tuned: float
    low: float
    high: float
    rows: int = 0


class Drift(msgspec.Struct, frozen=True):
    """Nats per token on general text; `kl` is KL(base || tuned) where one model in memory was both."""

    base: float
    tuned: float
    tokens: int = 0
    kl: float | None = None


class NoiseFloor(msgspec.Struct, frozen=True):
    """The base against itself in other batches."""

    items: int
    flips: int


class Contamination(msgspec.Struct, frozen=True):
    """Benchmark items that the training data contains; they were left out before the draw."""

    items: int
    by_task: dict[str, int] = {}


class Flip(msgspec.Struct, frozen=True):
    """One item whose score changed."""

    task: str
    item: str
    category: str
    question: str
    gold: str
    base: float
    tuned: float
    base_answer: str
    tuned_answer: str
    choices: tuple[str, ...] = ()  # none: it was answered in words


class Category(msgspec.Struct, frozen=True):
    """Flips of one category of a task."""

    task: str
    category: str
    n: int
    lost: int
    won: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. The verdict's own numbers are those of CheckResult in verdict.py."""

    verdict: Verdict
    reason: str
    decided_by: str = ""
    claims: tuple[str, ...] = ()
    margin: float
    alpha: float = 0.05
    items_used: int
    items_scored: int = 0
    items_total: int
    base: float | None = None
    tuned: float | None = None
    drop: float | None = None
    interval: tuple[float, float] | None = None
    proven_drop: bool = False
    lost: int = 0
    won: int = 0
    lost_corrected: float | None = None
    won_corrected: float | None = None
    mcnemar_p: float | None = None
    discordance: float = 0.0
    power: tuple[Power, ...] = ()
    tasks: tuple[TaskResult, ...] = ()
    plan_hash: str = ""
    alpha_total: float = 0.05
    claim: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    watch: bool = False
    weighted: bool = False
    format: int = FORMAT
    suite: str = ""
    step: int | None = None
    checkpoint: str = ""
    target: dict[str, TargetScore] = {}
    drift: Drift | None = None
    noise_floor: NoiseFloor | None = None
    contamination: Contamination = Contamination(0)
    flips: tuple[Flip, ...] = ()
    categories: tuple[Category, ...] = ()
    models: dict[str, dict[str, Any]] = {}
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def real_drop(self) -> bool:
        """Say whether the ability fell for certain, by less than the limit."""
        return self.verdict == "ok" and self.proven_drop


def read(result: Mapping[str, Any]) -> Outcome:
    """Give a result its types again.

    Raises msgspec.ValidationError for what is none; unknown keys are left aside.
    """
    return msgspec.convert(dict(result), Outcome)


def word(outcome: Outcome) -> str:
    """Name the verdict: 'OK', 'OK, a real drop', 'REGRESSED' or 'NO VERDICT'."""
    return f"{WORDS[outcome.verdict]}, a real drop" if outcome.real_drop else WORDS[outcome.verdict]


def change(drop: float | None) -> str:
    """Write a change as lists show it, worse is negative.

    '-9.1', '+0.4', '0.0'; '-' where nothing was measured.
    """
    if drop is None:
        return "-"
    shown = points(abs(drop))
    return shown if float(shown) == 0 else f"{'-' if drop > 0 else '+'}{shown}"


def verdict_line(outcome: Outcome) -> str:
    """Say the verdict in one line: 'REGRESSED  9.1 points lost (limit 3.0), proven on 412 of 672 items'.

    A further claim of a run and a look on the way are marked at the end: '; claim 2', '; watch, no claim'.
    """
    return _answer(outcome) + standing(outcome)


def standing(outcome: Outcome) -> str:
    """Mark what part a check has in its run's claims, for the end of a line."""
    if outcome.watch:
        return "; watch, no claim"
    return f"; claim {outcome.claim}" if outcome.claim else ""


def _answer(outcome: Outcome) -> str:
    if outcome.verdict == "no_verdict" or outcome.drop is None:
        return f"{word(outcome)}  {outcome.reason}"
    if outcome.decided_by == "task":
        return f"{word(outcome)}  {outcome.reason.rstrip('.')}"
    shown = points(abs(outcome.drop))
    moved = (
        "nothing lost" if float(shown) == 0 else f"{shown} points {'lost' if outcome.drop > 0 else 'gained'}"
    )
    how = "certain" if outcome.decided_by == "arithmetic" else "proven"
    used = f"{outcome.items_used:,} of {outcome.items_total:,} items"
    if outcome.weighted:
        moved += ", weighted"
    return f"{word(outcome)}  {moved} (limit {points(outcome.margin)}), {how} on {used}"


def worst_first(outcome: Outcome) -> tuple[TaskResult, ...]:
    """Order the tasks by their drop; those that could not be measured come last."""
    return tuple(sorted(outcome.tasks, key=lambda task: (task.drop is None, -(task.drop or 0.0), task.task)))


def task_table(outcome: Outcome) -> str:
    """Lay the tasks out as a table for a terminal, worst first."""
    head: tuple[str, ...] = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")
    rows = [head, *(_task_cells(task) for task in worst_first(outcome))]
    if outcome.weighted:
        weights = ("weight", *(_weight_cell(task) for task in worst_first(outcome)))
        rows = [(*row, weight) for row, weight in zip(rows, weights, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 1}
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _task_cells(task: TaskResult) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    # An interval of the drop from low to high is one of the change from -high to -low.
    interval = f"{change(task.interval[1])} to {change(task.interval[0])}" if task.interval else "-"
    return (
        MARKS[task.mark],
        task.task,
        share(task.base),
        share(task.tuned),
        change(task.drop),
        interval,
        str(task.lost),
        str(task.won),
        f"{task.n} of {task.total}",
    )


def _weight_cell(task: TaskResult) -> str:
    return "-" if task.mark == "unmeasurable" else f"{task.weight:g}"


def target_line(metric: str, score: TargetScore) -> str:
    """Say how a target metric moved.

    'nats_per_token  2.94 -> 0.98 (better, -1.99 to -1.93 at 95 %, 60 rows)'.
    """
    better = score.high < 0 if metric in LOWER_IS_BETTER else score.low > 0
    worse = score.low > 0 if metric in LOWER_IS_BETTER else score.high < 0
    how = "better" if better else "worse" if worse else "no clear change"
    interval = f"{score.low:+.2f} to {score.high:+.2f} at 95 %"
    return f"{metric}  {score.base:.2f} -> {score.tuned:.2f} ({how}, {interval}, {score.rows} rows)"


def beside_lines(outcome: Outcome) -> list[str]:
    """Say all that stands beside the verdict, a line each.

    Interval, flips, target, drift, noise floor, what was left out.
    """
    lines = []
    if outcome.interval is not None:
        low, high = outcome.interval
        sure = f"{100 * (1 - outcome.alpha):.4g} %"
        lines.append(f"change of ability  {change(high)} to {change(low)} points ({sure}, at any time)")
    if outcome.items_used:
        luck = ""
        if outcome.lost_corrected is not None and outcome.won_corrected is not None:
            luck = f"; without guessing's share {outcome.lost_corrected:.0f} and {outcome.won_corrected:.0f}"
        exact = f"; exact McNemar p {outcome.mcnemar_p:.2g}" if outcome.mcnemar_p is not None else ""
        lines.append(f"flips  {outcome.lost} lost, {outcome.won} won{luck}{exact}")
    lines += [f"target  {target_line(metric, score)}" for metric, score in outcome.target.items()]
    if outcome.drift is not None:
        kl = f", KL {outcome.drift.kl:.3f}" if outcome.drift.kl is not None else ""
        rise = round(outcome.drift.tuned - outcome.drift.base, 3) + 0.0  # no -0.000
        moved = f"{outcome.drift.base:.3f} -> {outcome.drift.tuned:.3f}"
        lines.append(f"drift  {rise:+.3f} nats per token on general text ({moved}{kl})")
    if outcome.noise_floor is not None and outcome.noise_floor.items:
        floor = outcome.noise_floor
        times = "1 flip" if floor.flips == 1 else f"{floor.flips} flips"
        lines.append(f"noise floor  base against itself, other batches: {times} of {floor.items} items")
    if outcome.contamination.items:
        named = ", ".join(f"{task} {n}" for task, n in outcome.contamination.by_task.items())
        lines.append(
            f"left out  {outcome.contamination.items} items that the training data contains ({named})"
        )
    return [*lines, *outcome.notes]


def report(name: str, result: Mapping[str, Any]) -> str:
    """Write the whole result of a run's check for a terminal."""
    outcome = read(result)
    step = f" at step {outcome.step}" if outcome.step is not None else ""
    suite = f", suite {outcome.suite}" if outcome.suite else ""
    parts = [f"{name}{step}{suite}", verdict_line(outcome), ""]
    if outcome.tasks:
        parts += [task_table(outcome), ""]
    parts += beside_lines(outcome)
    unmeasured = [task.reason for task in outcome.tasks if task.reason]
    if unmeasured and outcome.verdict != "no_verdict":
        parts += ["", *unmeasured]
    if outcome.claims:
        parts += ["", *outcome.claims]
    return "\n".join(clean(part) for part in parts).rstrip()


def short_answer(check: CheckBrief) -> str:
    """Answer "did it forget?" in a list's cell.

    'REGRESSED -9.1', 'ok -1.9, a real drop', 'NO VERDICT: why'.
    """
    moved = change(None if check.drop is None else check.drop / 100)
    if check.accepted:
        return f"{moved}, accepted ({clean_line(check.accepted)})"
    if check.fixed_by:
        return f"{moved}, fixed by {clean_line(check.fixed_by)}"
    if check.verdict == "no_verdict":
        return (
            f"{WORDS[check.verdict]}: {clean_line(check.reason, limit=80)}"
            if check.reason
            else WORDS[check.verdict]
        )
    if check.verdict == "regressed":
        return f"{WORDS[check.verdict]} {moved}"
    return f"ok {moved}, a real drop" if check.real_drop else f"ok {moved}"


def brief(
    check_id: int,
    at: float,
    step: int | None,
    result: Mapping[str, Any],
    accepted: str = "",
    fixed_by: str = "",
) -> CheckBrief:
    """Give what a list of runs shows of a result, in points of 100."""
    outcome = read(result)
    return CheckBrief(
        check_id=check_id,
        verdict=outcome.verdict,
        reason=outcome.reason,
        step=step,
        drop=None if outcome.drop is None else 100 * outcome.drop,
        margin=100 * outcome.margin,
        real_drop=outcome.real_drop,
        items_used=outcome.items_used,
        items_total=outcome.items_total,
        suite=outcome.suite,
        at=at,
        worst=[TaskBrief(task.task, 100 * (task.drop or 0.0), task.mark) for task in worst_first(outcome)],
        target={metric: [score.base, score.tuned] for metric, score in outcome.target.items()},
        accepted=accepted,
        fixed_by=fixed_by,
        claim=outcome.claim,
        watch=outcome.watch,
    )


Verdict = Literal["ok", "regressed", "no_verdict"]


Mark = Literal["lost", "kept", "open", "unmeasurable"]


DecidedBy = Literal["", "betting", "arithmetic", "task"]


WORDS: dict[Verdict, str] = {"ok": "OK", "regressed": "REGRESSED", "no_verdict": "NO VERDICT"}


class Power(msgspec.Struct, frozen=True):
    """How often a suite of this size and discordance would be REGRESSED if the ability fell by `drop`."""

    drop: float
    chance: float


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """One task: n of total items seen, means over those (None where none is), and the mark.

    An unmeasurable task has the base's mean over all its items.

    e_value is the strongest evidence at any look against "the ability did not fall"; its inverse is an
    anytime-valid p-value. Nothing here is weighted; `weight` is what each item counts in the whole.
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


def points(share: float) -> str:
    """Write a share in points: 0.03 is 3.0."""
    return f"{100 * share:.1f}"
