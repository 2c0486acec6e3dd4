"""A check's verdict in words: for the app, the command line, reports and notices."""

from __future__ import annotations

import math
from collections.abc import Iterable

from finetop.core.protocol import check_result as results
from finetop.core.protocol.check_result import LOWER_IS_BETTER, CheckResult, TaskResult, Verdict, worst_first
from finetop.core.protocol.runs import (
    NO_WEIGHT,
    USUAL_SUITE,
    CheckBrief,
    Finished,
    Now,
    Running,
    RunRow,
    Stopped,
)
from finetop.core.text import clean_line, counted
from finetop.core.wording.units import decimals, rounded

WORDS: dict[Verdict, str] = {"ok": "OK", "regressed": "REGRESSED", "no_verdict": "NO VERDICT"}
SHORT_WORDS: dict[Verdict, str] = {**WORDS, "ok": "ok"}  # in lists, where most are ok
NOT_CHECKED = "NOT CHECKED"
TARGET_FAILED = "target failed"
OPEN = 1.5  # share of items: an interval this wide is uninformative
MARKS = {"lost": "✗", "kept": "✓", "open": "?", "unmeasurable": "-"}


def word(result: CheckResult) -> str:
    """Return the verdict: 'OK', 'OK, a real drop', 'REGRESSED' or 'NO VERDICT'."""
    return f"{WORDS[result.verdict]}, a real drop" if result.real_drop else WORDS[result.verdict]


def what_fell(tasks: Iterable[tuple[str, float | None]]) -> str:
    """Return the tasks, given with their drop in points, that fell far despite an OK: ', instructions -18.8'."""
    drops = ((drop, name) for name, drop in tasks if drop is not None and drop >= results.FELL)
    fallen = sorted(drops, reverse=True)
    if not fallen:
        return ""
    more = f" and {len(fallen) - 1} more" if len(fallen) > 1 else ""
    return f", {clean_line(fallen[0][1])} {change_of(fallen[0][0])}{more}"


def points(share: float) -> str:
    """Format a share in points: 0.03 is 3.0."""
    return f"{100 * share:.1f}"


def change(drop: float | None, margin: float | None = None) -> str:
    """Format a drop (a share) as a change, negative for worse: '-9.1', '+0.4', '0.0'; '-' for None: see `signed`."""
    return "-" if drop is None else change_of(100 * drop, None if margin is None else 100 * margin)


def change_of(points_lost: float, margin: float | None = None) -> str:
    """Format a drop in points as a change: a drop of 9.1 is '-9.1'."""
    return signed(-points_lost, *(() if margin is None else (-margin,)))


def signed(value: float, *bounds: float, digits: int = 1) -> str:
    """Format a change with its sign, rounded on its side of the bounds; no sign if it rounds to 0."""
    text = rounded(value, *bounds, digits=digits)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def interval_of(drops: tuple[float, float] | None, margin: float) -> str:
    """Format the interval of a drop as changes, all in points: '-21.4 to -3.2'; '-' if unknown.

    Neither end is rounded to or over the margin or 0, so the printed interval shows what a verdict or mark claims. A
    drop that is known exactly, because every item was scored, has none: 'all items'. One that may be anything is
    'open'.
    """
    if drops is None:
        return "-"
    low, high = drops
    if low == high:
        return "all items"
    if high - low > 100 * OPEN:
        return "open"
    return f"{signed(-high, -margin, 0.0)} to {signed(-low, -margin, 0.0)}"


def interval(drops: tuple[float, float] | None, margin: float) -> str:
    """Format the interval of a drop, all as shares: see `interval_of`."""
    return interval_of(drops and (100 * drops[0], 100 * drops[1]), 100 * margin)


def moved(drop: float, margin: float) -> str:
    """Return a drop (a share) in words: '9.1 points lost', '0.4 points won', 'nothing lost'."""
    size = rounded(100 * abs(drop), 100 * margin) if drop > 0 else points(-drop)
    return "nothing lost" if float(size) == 0 else f"{size} points {'lost' if drop > 0 else 'won'}"


def finding(drop: float, margin: float, used: int, total: int, *, weighted: bool = False) -> str:
    """Return what is proven, and on how many items: '9.1 points lost (limit 3.0), proven on 412 of 672 items'."""
    lost = f"{moved(drop, margin)}{', weighted' if weighted else ''} (limit {points(margin)})"
    if used < total:
        return f"{lost}, proven on {used:,} of {counted(total, 'item')}"
    return f"{lost}, all {counted(total, 'item')} scored"


def on_these_items(power: results.Power) -> str:
    """Return what an OK on few items can't show: 'on these items: 6 points would be missed 82 % of the time'."""
    missed = f"{100 * (1 - power.chance):.0f} % of the time"
    return f"on these items: a drop of {100 * power.drop:g} points would be missed {missed}"


def verdict_line(result: CheckResult) -> str:
    """Return the verdict in one line: 'REGRESSED  9.1 points lost (limit 3.0), proven on 412 of 672 items'.

    A further check of a run and an intermediate one are marked at the end: ' (check 2 of this run)'.
    """
    return _answer(result) + standing(result)


def standing(result: CheckResult) -> str:
    """Return a check's part in its run's claims, for the end of a line."""
    if result.watch:
        return " (intermediate check)"
    return f" (check {result.claim} of this run)" if result.claim else ""


def _answer(result: CheckResult) -> str:
    if result.verdict == "no_verdict" or result.drop is None:
        return f"{word(result)}  {result.reason}"
    if result.decided_by == "task":
        return f"{word(result)}  {result.reason.rstrip('.')}"
    used, total = result.items_used, result.items_total
    what = finding(result.drop, result.margin, used, total, weighted=result.weighted)
    if result.verdict != "ok":
        return f"{word(result)}  {what}"
    tasks = ((task.task, None if task.drop is None else 100 * task.drop) for task in result.tasks)
    few = f"; {on_these_items(result.low_power)}" if result.low_power else ""
    return f"{word(result)}  {what}{what_fell(tasks)}{few}"


def task_table(result: CheckResult) -> str:
    """Return the tasks as a table for a terminal, worst first."""
    head: tuple[str, ...] = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")
    rows = [head, *(task_cells(task, result.margin) for task in worst_first(result))]
    if result.weighted:
        tasks = worst_first(result)
        weights = ["-" if task.mark == "unmeasurable" else f"{task.weight:g}" for task in tasks]
        rows = [(*row, weight) for row, weight in zip(rows, ["weight", *weights], strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        sized = zip(row, widths, strict=True)
        cells = [cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(sized)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def task_cells(task: TaskResult, margin: float) -> tuple[str, ...]:
    """Return a task's nine cells: mark, name, base, tuned, change, interval, items lost, won and scored."""

    base, tuned = ("-" if mean is None else f"{mean:.3f}" for mean in (task.base, task.tuned))
    items = (str(task.lost), str(task.won), f"{task.n} of {task.total}")
    moved = (change(task.drop), interval(task.interval, margin))
    return MARKS[task.mark], clean_line(task.task), base, tuned, *moved, *items


def target_line(metric: str, score: results.TargetScore) -> str:
    """Return how a target metric moved: 'nats_per_token  2.94 -> 0.98 (better, -1.99 to -1.93 at 95 %, 60 rows)'."""
    better = score.high < 0 if metric in LOWER_IS_BETTER else score.low > 0
    worse = score.low > 0 if metric in LOWER_IS_BETTER else score.high < 0
    how = "better" if better else "worse" if worse else "no clear change"
    interval = f"{signed(score.low, 0.0, digits=2)} to {signed(score.high, 0.0, digits=2)} at 95 %"
    rows, moved_to = counted(score.rows, "row"), ""
    if score.texts:
        rows = f"{counted(score.rows, 'window')} of {counted(score.texts, 'text')}"
        moved_to = f"; perplexity {perplexity(score.base)} -> {perplexity(score.tuned)}"
    return f"{metric}  {score.base:.2f} -> {score.tuned:.2f} ({how}, {interval}, {rows}{moved_to})"


def perplexity(nats: float) -> str:
    """Format nats per token as a perplexity, in three digits: '18.9'; above a million '>1e6'."""
    return f"{math.exp(nats):.3g}" if nats < math.log(1e6) else ">1e6"


def further_lines(result: CheckResult) -> list[str]:
    """Return the lines below the verdict: interval, flips, target, drift, noise floor, what was left out."""
    lines = []
    if (decided := result.deciding_interval) is not None and result.drop is not None:
        all_of = f"over all {counted(result.items_total, 'item')}"
        if decided[0] == decided[1]:
            lines.append(f"change  {change(result.drop, result.margin)} points {all_of}, each scored")
        else:
            sure = f"{100 * (1 - result.alpha):.4g} % one-sided, decides"
            lines.append(f"change  {interval(decided, result.margin)} points {all_of} ({sure})")
    if result.interval is not None:
        interval_text, sure = interval(result.interval, result.margin), f"{100 * (1 - result.alpha):.4g} %"
        points_of = "" if interval_text == "open" else " points"
        lines.append(f"ability  {interval_text}{points_of} on items like these ({sure}, does not decide)")
    if result.items_used:
        corrected = ""
        if result.lost_corrected is not None and result.won_corrected is not None:
            corrected = f"; corrected for guessing {result.lost_corrected:.0f} and {result.won_corrected:.0f}"
        exact = f"; exact McNemar p {result.mcnemar_p:.2g}" if result.mcnemar_p is not None else ""
        lines.append(f"flips  {result.lost} lost, {result.won} won{corrected}{exact}")
    lines += [f"target  {target_line(metric, score)}" for metric, score in result.target.items()]
    if result.target_failed:
        lines.append(f"target  failed: {result.target_failed}")
    if result.drift is not None:
        kl = f", KL {result.drift.kl:.3f}" if result.drift.kl is not None else ""
        rise = round(result.drift.tuned - result.drift.base, 3) + 0.0  # no -0.000
        values = f"{result.drift.base:.3f} -> {result.drift.tuned:.3f}"
        lines.append(f"drift  {rise:+.3f} nats/token on general text ({values}{kl})")
    if result.noise_floor is not None and result.noise_floor.items:
        floor = result.noise_floor
        flips = counted(floor.flips, "flip")
        lines.append(f"noise floor  base vs itself, other batches: {flips} of {floor.items} items")
        if floor.answers:
            flips = counted(floor.answers_flipped, "flip")
            text = f"engine {floor.engine} against exact: {flips} of {counted(floor.answers, 'answer')}"
            lines.append(f"noise floor  {text}")
    if result.contamination.items:
        named = ", ".join(f"{task} {n}" for task, n in result.contamination.by_task.items())
        items = counted(result.contamination.items, "item")
        lines.append(f"left out  {items} found in the training data ({named})")
    return [*lines, *result.notes]


def report(name: str, result: CheckResult) -> str:
    """Return the whole result of a run's check for a terminal; a newline in a name does not start a line."""
    step = f" at step {result.step}" if result.step is not None else ""
    suite = f", suite {result.suite}" if result.suite else ""
    lines = [clean_line(f"{name}{step}{suite}"), clean_line(verdict_line(result)), ""]
    if result.tasks:
        lines += [task_table(result), ""]
    lines += map(clean_line, further_lines(result))
    unmeasured = [clean_line(task.reason) for task in result.tasks if task.reason not in result.reason]
    if unmeasured:
        lines += ["", *unmeasured]
    if result.claims:
        lines += ["", *map(clean_line, result.claims)]
    return "\n".join(lines).rstrip()


def regression(name: str, check: CheckBrief) -> str:
    """Return that a model regressed, whoever accepted it, for who gets its files; empty if it did not."""
    if check.verdict != "regressed":
        return ""
    lost = "" if check.drop is None else f": it lost {check.drop:.1f} points on {check.suite}"
    return f"{name} is REGRESSED{lost} (`finetop triage` shows what)."


def outdated(name: str, now: Now, *, of_base: bool = False) -> str:
    """Return that a model's verdict, or a run's base, is of other weights than now, or may be; empty if it isn't."""
    check, whose, who = f"finetop check {name}", name, "they have"
    if of_base:
        whose, who = f"{name}'s base", f"{name} has"
    match now:
        case "same":
            return ""
        case "unread":
            return f"the weights of {whose} were rewritten since they were checked ({check} tells if they changed)."
        case "changed":
            return f"the weights of {whose} changed since they were checked, so {who} no verdict ({check})."


def on_suite(suite: str, *, named: bool | None = None) -> str:
    """Return the suite of a verdict: ' on core'; empty for the usual suite, unless `named` is True."""
    is_named = suite != USUAL_SUITE if named is None else named
    return f" on {clean_line(suite, limit=40)}" if suite and is_named else ""


def short_answer(check: CheckBrief, *, name_suite: bool | None = None) -> str:
    """Answer "did it forget?" in a cell: 'ok -1.9 on core, a real drop', 'NO VERDICT: why', '…; target failed'."""
    return f"{_short_answer(check, name_suite)}{limits(check)}"


def limits(check: CheckBrief) -> str:
    """Return marks behind a verdict: its target could not be measured, its weights are others by now."""
    target = f"; {TARGET_FAILED}" if check.target_failed else ""
    return f"{target}{changed_mark(check)}"


def changed_mark(check: CheckBrief) -> str:
    """Return a mark if a verdict is of other weights than there are now, or may be."""
    marks = {"same": "", "changed": "; weights changed since", "unread": "; weights rewritten since"}
    return marks[check.weights_now]


def next_of_target(name: str) -> str:
    """Return what to do once a target that could not be measured is fixed."""
    return f"fix check.target, then finetop check {name}"


def unchecked(row: RunRow) -> str:
    """Answer "did it forget?" for a run without a check: 'not checked', its drift while it runs; empty if unknown."""
    match row.state:
        case Running():
            drift = row.metrics.get("drift")
            return "" if drift is None else f"drift {decimals(drift)}"
        case Finished() | Stopped(how="stop" | "kill" | "pause"):
            return "same weights" if row.method == NO_WEIGHT else "not checked"
    return ""


def _short_answer(check: CheckBrief, name_suite: bool | None) -> str:
    on = on_suite(check.suite, named=name_suite)
    changed = f"{'-' if check.drop is None else change_of(check.drop, check.margin)}{on}"
    if check.accepted:
        return f"{changed}, accepted ({clean_line(check.accepted)})"
    if check.fixed_by:
        return f"{changed}, fixed by {clean_line(check.fixed_by)}"
    if check.verdict == "no_verdict":
        why = f": {clean_line(check.reason, limit=120)}" if check.reason else ""
        return f"{WORDS[check.verdict]}{on}{why}"
    if check.verdict == "regressed":
        return f"{WORDS[check.verdict]} {changed}"
    return f"{SHORT_WORDS['ok']} {changed}{ok_details(check)}"


def ok_details(check: CheckBrief) -> str:
    """Return what an OK hides: ', instructions -18.8', else ', a real drop'."""
    fallen = what_fell((task.task, task.drop) for task in check.worst[:1])
    return fallen or (", a real drop" if check.real_drop else "")
