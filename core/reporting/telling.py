"""Tells a run as a page: sections of plain blocks, from what is known of it. Pure functions."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from finetop.core import run as data
from finetop.core.check.telling.result import (
    MARKS,
    beside_lines,
    change,
    short_answer,
    standing,
    verdict_line,
    word,
    worst_first,
)
from finetop.core.reporting import (
    Bar,
    Bars,
    Block,
    Chart,
    Facts,
    Line,
    Page,
    Points,
    Section,
    Source,
    Table,
    Tone,
)
from finetop.core.reporting.asking import COLUMNS
from finetop.core.sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from finetop.core.check.deciding.verdict import TaskResult
    from finetop.core.check.telling.result import Flip, Outcome
    from finetop.core.protocol import Curve, FlipRow
    from finetop.core.reporting.asking import Told

LOST_SHOWN, WON_SHOWN = 20, 5
CATEGORIES_SHOWN = 30
TEXT_SHOWN = 600  # characters of one answer, question or sample
SPARK = 40  # blocks
FEW = 30  # points of a curve that are drawn as such
_TONES: dict[str, Tone] = {"ok": "good", "regressed": "bad", "no_verdict": "open"}
_BAR_TONES: dict[str, Tone] = {"lost": "bad", "kept": "good"}
_OVER = {"drift": ("kl",), "loss": ("eval_loss",)}  # curves that are drawn with another


def page_of(told: Told, now: float, version: str) -> Page:
    """Tell all of a run that a colleague may want to know, the verdict first."""
    detail = told.detail
    name, tone, sentence, sure = _verdict(told)
    sections = (
        Section("Data", _data(detail)),
        Section("Recipe", _recipe(told)),
        Section("Curves", _curves(told)),
        Section("Tasks", tasks(told.outcome)),
        Section("Categories", _categories(told.outcome)),
        Section("Answers that changed", _flips(told)),
        Section("Samples", samples(detail)),
        Section("Checkpoints", checkpoints(detail)),
        Section("Checks", _checks(detail)),
        Section("Alarms", _alarms(detail)),
        Section("Not measured", (Points(tuple(_not_measured(told))),)),
        Section("How it ran", _machine(told)),
    )
    return Page(
        title=detail.row.name,
        about=_about(detail),
        word=name,
        tone=tone,
        sentence=sentence,
        sure=sure,
        sections=tuple(section for section in sections if section.blocks),
        made=f"{moment(now)}, by finetop {version}",
    )


def moment(at: float) -> str:
    """Write a moment with its zone: a colleague may be in another."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _about(detail: data.RunDetail) -> str:
    row = detail.row
    rows = sum(source.kept for source in detail.data)
    on = f" on {rows:,} rows" if rows else ""
    return f"{row.model}, tuned by {row.method} ({row.objective}){on}; {_state(row)}"


def _state(row: data.RunRow) -> str:
    steps = f" at step {row.step:,} of {row.steps:,}" if row.steps else ""
    cause = getattr(row.state, "cause", "")
    return f"{data.word(row.state)}{steps}{f': {cause}' if cause else ''}"


# --- the verdict ------------------------------------------------------------------------------------------


def _verdict(told: Told) -> tuple[str, Tone, str, tuple[str, ...]]:
    """Give the verdict's word, how it looks, its sentence, and how sure it is."""
    check, outcome = told.detail.row.check, told.outcome
    if outcome is None:
        return "NOT CHECKED", "open", "Nobody knows yet whether this model forgot.", ()
    name = word(outcome)
    sentence = verdict_line(outcome)[len(name) :].strip()
    if outcome.step is not None:
        sentence += f", at step {outcome.step:,}"
    accepted = check.accepted if check is not None else ""
    beside = [*outcome.claims, *(line.replace("  ", ": ", 1) for line in beside_lines(outcome))]
    if accepted:
        beside.insert(0, f"accepted: {accepted}")
    return name, _TONES[outcome.verdict], sentence, tuple(beside)


# --- what was trained on what -----------------------------------------------------------------------------


def _data(detail: data.RunDetail) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if detail.data:
        rows = [
            (
                source.source,
                f"{source.rows:,}",
                f"{source.kept:,}",
                f"{source.dropped:,}",
                f"{source.truncated:,}",
                f"{source.longest_tokens:,}",
                f"{source.answer_tokens:,}",
            )
            for source in detail.data
        ]
        head = ("source", "rows", "kept", "dropped", "cut short", "longest, tokens", "learned tokens")
        blocks.append(Table(head, tuple(rows), right=(1, 2, 3, 4, 5, 6)))
    if detail.first_row:
        learned = "".join(f"«{text}»" if is_learned else text for text, is_learned in detail.first_row)
        blocks.append(Source("The first row as the model sees it; «what it learns»", learned))
    return tuple(blocks)


def _recipe(told: Told) -> tuple[Block, ...]:
    """Lay out what differs from the built-in recipe, with the whole one folded."""
    detail = told.detail
    blocks: list[Block] = []
    if told.base is not None:
        head = ("setting", f"built-in {told.base_name}", "this run")
        rows = tuple(_differences(told.base, detail.recipe))
        blocks.append(Table(head, rows) if rows else Points((f"As the built-in {told.base_name}.",)))
    whole = "\n".join(f"{key}: {value}" for key, value in flat(detail.recipe))
    blocks.append(Source("All settings, defaults filled in", whole))
    if detail.recipe_source:
        blocks.append(Source("The recipe as it was written", detail.recipe_source))
    return tuple(blocks)


def _differences(base: dict[str, Any], recipe: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    usual, here = dict(flat(base)), dict(flat(recipe))
    for key in dict.fromkeys([*here, *usual]):
        if key.split(".")[0] in ("recipe", "name", "about", "extends"):
            continue
        before, after = usual.get(key, "-"), here.get(key, "-")
        is_unset = {before, after} in ({"-", "null"}, {"-", "none"})
        if before != after and not is_unset:
            yield key, before, after


def flat(node: Any, name: str = "") -> list[tuple[str, str]]:
    """Write settings as `section.name` and value, in the recipe's order."""
    if isinstance(node, dict) and node:
        return [
            pair for key, value in node.items() for pair in flat(value, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(node, list) and any(isinstance(one, dict) for one in node):
        return [pair for at, value in enumerate(node) for pair in flat(value, f"{name}[{at}]")]
    if isinstance(node, bool) or node is None:
        return [(name, {True: "true", False: "false", None: "null"}[node])]
    if isinstance(node, list):
        return [(name, ", ".join(str(one) for one in node) or "none")]
    return [(name, "none" if node == {} else str(node))]


# --- curves -----------------------------------------------------------------------------------------------


def _curves(told: Told) -> tuple[Block, ...]:
    """Draw what decides, loss and drift, and write the last value of all."""
    curves = told.curves
    blocks: list[Block] = []
    for key, title in (("loss", "Loss"), ("reward", "Reward"), ("drift", "Drift, nats a token")):
        lines = [
            line_of(curves[one], 0, told.last, COLUMNS) for one in (key, *_OVER.get(key, ())) if one in curves
        ]
        lines = [line for line in lines if line.steps]
        if lines:
            limit = (told.detail.recipe.get("drift") or {}).get("limit") if key == "drift" else None
            blocks.append(Chart(title, tuple(lines), told.last, limit))
    rows = [
        (key, _short(curve.last_value), str(curve.last_step), sparkline(_finite(curve.mean), SPARK))
        for key, curve in sorted(curves.items())
        if curve.column
    ]
    if rows:
        blocks.append(Table(("metric", "last", "at step", "whole run"), tuple(rows), right=(1, 2)))
    return tuple(blocks)


def line_of(curve: Curve, first: float, last: float, columns: int) -> Line:
    """Give a curve that was asked for in bins of [first, last] its steps; what is no number is left out."""
    found = [
        (column, mean, low, high)
        for column, mean, low, high in zip(curve.column, curve.mean, curve.low, curve.high, strict=True)
        if all(map(math.isfinite, (mean, low, high)))
    ]
    width = (last - first) / max(1, columns)
    steps = tuple(first + (column + 0.5) * width for column, _, _, _ in found)
    mean, low, high = (tuple(one[at] for one in found) for at in (1, 2, 3))
    return Line(curve.key, steps, mean, low, high, is_points=len(found) <= FEW)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


# --- the check --------------------------------------------------------------------------------------------


def tasks(outcome: Outcome | None) -> tuple[Block, ...]:
    if outcome is None or not outcome.tasks:
        return ()
    tasks = worst_first(outcome)
    bars = [_bar("all tasks", outcome.drop, outcome.interval, _TONES[outcome.verdict])]
    bars += [_bar(task.task, task.drop, task.interval, _BAR_TONES.get(task.mark, "open")) for task in tasks]
    shown = tuple(bar for bar in bars if bar is not None)
    head = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")
    table = Table(head, tuple(_task_row(task) for task in tasks), right=(2, 3, 4, 6, 7, 8))
    blocks: list[Block] = [table]
    if shown:
        blocks.insert(0, Bars("Change against the base, points of 100", shown, -100 * outcome.margin))
    return tuple(blocks)


def _bar(name: str, drop: float | None, interval: tuple[float, float] | None, tone: Tone) -> Bar | None:
    if drop is None:
        return None
    low, high = (None, None) if interval is None else (-100 * interval[1], -100 * interval[0])
    return Bar(name, -100 * drop + 0.0, low, high, tone)


def _task_row(task: TaskResult) -> tuple[str, ...]:
    return (
        MARKS[task.mark],
        task.task,
        "-" if task.base is None else f"{task.base:.3f}",
        "-" if task.tuned is None else f"{task.tuned:.3f}",
        change(task.drop),
        f"{change(task.interval[1])} to {change(task.interval[0])}" if task.interval else "-",
        str(task.lost),
        str(task.won),
        f"{task.n:,} of {task.total:,}",
    )


def _categories(outcome: Outcome | None) -> tuple[Block, ...]:
    if outcome is None:
        return ()
    found = sorted(outcome.categories, key=lambda one: (one.won - one.lost, -one.n, one.task, one.category))
    rows = [(one.task, one.category, str(one.n), str(one.lost), str(one.won)) for one in found]
    if not rows:
        return ()
    more = len(rows) - CATEGORIES_SHOWN
    left_out = f"and {more} more, which lost less" if more > 0 else ""
    head = ("task", "category", "items", "lost", "won")
    return (Table(head, tuple(rows[:CATEGORIES_SHOWN]), right=(2, 3, 4), more=left_out),)


def _flips(told: Told) -> tuple[Block, ...]:
    """List the worst of the lost answers, then some that were won, with what was asked."""
    if not told.flips:
        return ()
    asked = {(one.task, one.item): one for one in told.outcome.flips} if told.outcome is not None else {}
    lost = sorted((flip for flip in told.flips if not flip.won), key=_fall)
    won = [flip for flip in told.flips if flip.won]
    shown = [*lost[:LOST_SHOWN], *won[:WON_SHOWN]]
    rows = tuple(_flip_row(flip, asked.get((flip.task, flip.item))) for flip in shown)
    more = len(told.flips) - len(shown)
    head = ("", "task", "question", "right", "base said", "tuned said", "log p, base -> tuned")
    left_out = f"{more} more: finetop flips {told.detail.row.name}" if more else ""
    return (
        Points((f"{len(lost)} lost, {len(won)} won; the worst first.",)),
        Table(head, rows, right=(6,), long=(2, 4, 5), more=left_out),
    )


def _fall(flip: FlipRow) -> float:
    """Tell how far it fell: what the tuned model thinks of its answer against what the base thought of its own."""
    if flip.base_log_prob is None or flip.tuned_log_prob is None:
        return 0.0
    return flip.tuned_log_prob - flip.base_log_prob


def _flip_row(flip: FlipRow, asked: Flip | None) -> tuple[str, ...]:
    return (
        "won" if flip.won else "lost",
        flip.task,
        _cut_front(asked.question) if asked is not None else flip.item,
        _cut(asked.gold) if asked is not None else "",
        _cut(flip.base_answer),
        _cut(flip.tuned_answer),
        _fell(flip),
    )


def _fell(flip: FlipRow) -> str:
    if flip.base_log_prob is None or flip.tuned_log_prob is None:
        return ""
    return f"{flip.base_log_prob:.1f} -> {flip.tuned_log_prob:.1f}"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"


def _cut_front(text: str) -> str:
    """Keep the end of a question: the examples in front of it are the same in all."""
    return text if len(text) <= TEXT_SHOWN else "…" + text[1 - TEXT_SHOWN :]


# --- what is left of it -----------------------------------------------------------------------------------


def samples(detail: data.RunDetail) -> tuple[Block, ...]:
    """Set each prompt's first and last text side by side."""
    by_prompt: dict[int, list[data.SampleRow]] = {}
    for sample in sorted(detail.samples, key=lambda sample: sample.step):
        by_prompt.setdefault(sample.index, []).append(sample)
    rows = []
    for _, texts in sorted(by_prompt.items()):
        first, last = texts[0], texts[-1]
        before = _cut(first.text) if first.step < last.step else ""
        rows.append((_cut_front(first.prompt), before, _cut(last.text)))
    if not rows:
        return ()
    steps = sorted({sample.step for sample in detail.samples})
    head = ("prompt", f"step {steps[0]:,}" if len(steps) > 1 else "", f"step {steps[-1]:,}")
    return (Table(head, tuple(rows), long=(0, 1, 2)),)


def checkpoints(detail: data.RunDetail) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if detail.checkpoints:
        rows = [
            (f"{one.step:,}", one.kind, f"{one.size_bytes / 1e6:,.1f} MB", moment(one.at), one.path)
            for one in detail.checkpoints
        ]
        head = ("step", "kind", "size", "at", "folder")
        blocks.append(Table(head, tuple(rows), right=(0, 2)))
    if detail.best is not None:
        blocks.append(Points((f"best: {detail.best.text}",)))
    return tuple(blocks)


def _checks(detail: data.RunDetail) -> tuple[Block, ...]:
    if not detail.checks:
        return ()
    rows = [
        (
            "-" if check.step is None else f"{check.step:,}",
            short_answer(check),
            check.suite,
            f"{check.items_used:,} of {check.items_total:,}",
            "watch, no claim" if check.watch else f"claim {check.claim}" if check.claim else "",
            moment(check.at),
        )
        for check in detail.checks
    ]
    return (Table(("step", "verdict", "suite", "items", "standing", "at"), tuple(rows), right=(0, 3)),)


def _alarms(detail: data.RunDetail) -> tuple[Block, ...]:
    if not detail.alarms:
        return ()
    rows = [
        (f"{alarm.step:,}", alarm.text, "" if alarm.over_step is None else f"since step {alarm.over_step:,}")
        for alarm in detail.alarms
    ]
    earlier = detail.alarms_total - len(detail.alarms)
    return (
        Table(
            ("step", "alarm", "over"),
            tuple(rows),
            right=(0,),
            more=f"{earlier} earlier" if earlier > 0 else "",
        ),
    )


def _not_measured(told: Told) -> Iterable[str]:
    """Say what nobody looked at: what is not on this page was not found to be fine."""
    outcome, detail = told.outcome, told.detail
    if outcome is None:
        yield f"Forgetting: there is no check of this run. finetop check {detail.row.name} makes one."
    else:
        yield from (task.reason for task in outcome.tasks if task.reason)
        if left := outcome.items_total - outcome.items_used:
            yield f"{left:,} of the suite's {outcome.items_total:,} items: the verdict did not need them."
        opened = [task.task for task in outcome.tasks if task.mark == "open"]
        if opened:
            yield f"Tasks that are not decided one by one: {', '.join(opened)}."
        yield f"Abilities that the suite {outcome.suite or 'of this check'} has no task for."
        if outcome.watch:
            yield f"The check is a look on the way{standing(outcome)}."
        if outcome.noise_floor is None or not outcome.noise_floor.items:
            yield "The noise floor: how often the base differs from itself in other batches."
        if not outcome.target:
            yield "The target: no score says what the training was for, before and after."
        if outcome.drift is None:
            yield "Drift on general text at the end."
    if "eval_loss" not in told.curves:
        yield "Loss on rows kept back from the training data."
    if len({check.step for check in detail.checks}) < 2:
        yield "Other checkpoints than the one that was checked." if detail.checks else "Any checkpoint."
    if (seed := (detail.recipe.get("train") or {}).get("seed")) is not None:
        yield f"Other seeds than {seed}: a training repeated with another may end elsewhere."


def _machine(told: Told) -> tuple[Block, ...]:
    detail, row = told.detail, told.detail.row
    state = row.state
    since, ended = getattr(state, "since", None), getattr(state, "ended", None)
    facts = [("run", f"{row.name}, number {row.id}"), ("state", _state(row)), ("device", detail.device)]
    if since is not None and ended is not None:
        facts.append(("trained", f"{moment(since)} to {moment(ended)}, {(ended - since) / 60:,.1f} min"))
    learns, whole = detail.planned.get("trainable_parameters"), detail.planned.get("parameters")
    if learns and whole:
        facts.append(("learns", f"{learns / 1e6:,.1f} of {whole / 1e6:,.0f} M parameters"))
    facts += [("tags", ", ".join(row.tags)), ("note", row.note)]
    facts.append(("versions", ", ".join(f"{name} {number}" for name, number in detail.versions.items())))
    if told.outcome is not None:
        for which, model in told.outcome.models.items():
            facts.append((f"{which}, sha256 of the weights", str(model.get("weights", "-"))))
        facts.append(("plan of the check, sha256", told.outcome.plan_hash))
    for parent in detail.parents:
        at = "" if parent.step is None else f", step {parent.step:,}"
        facts.append(("began from", f"{parent.name}{at}, as its {parent.setting}"))
    facts += [("began others", ", ".join(child.name for child in detail.children))]
    return (Facts(tuple((name, text) for name, text in facts if text)),)
