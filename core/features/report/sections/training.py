"""The sections of a report about the training: curves, samples, checkpoints, alarms, how it ran."""

from __future__ import annotations

import math

from finetop.core.features.report.load import COLUMNS, RunFacts
from finetop.core.features.report.page import (
    Block,
    Chart,
    Facts,
    Line,
    Points,
    Table,
    moment,
    shortened,
    shortened_front,
    state_words,
)
from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import Ended, Finished, RunDetail, SampleRow
from finetop.core.wording.sparkline import sparkline

SPARK = 40  # blocks of a sparkline
FEW_POINTS = 30  # points of a curve below which each is drawn
DRIFT = "Drift, nats/token"  # the title of its chart
_OVER = {"drift": ("kl",), "loss": ("eval_loss",)}  # curves drawn in another's chart


def curves(facts: RunFacts) -> tuple[Block, ...]:
    """Return the charts of reward, loss and drift, and the last value of every metric."""
    curves = facts.curves
    blocks_found: list[Block] = []
    for key, title in (("reward", "Reward"), ("loss", "Loss"), ("drift", DRIFT)):
        drawn = [curves[name] for name in (key, *_OVER.get(key, ())) if name in curves]
        lines = [line_of(curve, 0, facts.last, COLUMNS) for curve in drawn]
        lines = [line for line in lines if line.steps]
        if lines:
            limit = (facts.detail.recipe.get("drift") or {}).get("limit") if key == "drift" else None
            blocks_found.append(Chart(title, tuple(lines), facts.last, limit))
    rows = [_row(curve) for _, curve in sorted(curves.items()) if curve.column]
    if rows:
        blocks_found.append(Table(("metric", "last", "at step", "whole run"), tuple(rows), right=(1, 2)))
    return tuple(blocks_found)


def line_of(curve: Curve, first: float, last: float, columns: int) -> Line:
    """Return a curve that was requested in bins of [first, last] as steps and values; non-finite bins are left out."""
    bins = [
        (column, mean, low, high)
        for column, mean, low, high in zip(curve.column, curve.mean, curve.low, curve.high, strict=True)
        if all(map(math.isfinite, (mean, low, high)))
    ]
    width = (last - first) / max(1, columns)
    steps = tuple(first + (column + 0.5) * width for column, _, _, _ in bins)
    mean, low, high = (tuple(bin_values[at] for bin_values in bins) for at in (1, 2, 3))
    return Line(curve.key, steps, mean, low, high, is_points=len(bins) <= FEW_POINTS)


def _row(curve: Curve) -> tuple[str, ...]:
    last = "-" if curve.last_value is None else f"{curve.last_value:.4g}"
    return curve.key, last, str(curve.last_step), sparkline(list(filter(math.isfinite, curve.mean)), SPARK)


def samples(detail: RunDetail) -> tuple[Block, ...]:
    """Return each prompt's first and last text side by side."""
    by_prompt: dict[int, list[SampleRow]] = {}
    for sample in sorted(detail.samples, key=lambda sample: sample.step):
        by_prompt.setdefault(sample.index, []).append(sample)
    rows = []
    for _, texts in sorted(by_prompt.items()):
        first, last = texts[0], texts[-1]
        before = shortened(first.text) if first.step < last.step else ""
        rows.append((shortened_front(first.prompt), before, shortened(last.text)))
    if not rows:
        return ()
    steps = sorted({sample.step for sample in detail.samples})
    head = ("prompt", f"step {steps[0]:,}" if len(steps) > 1 else "", f"step {steps[-1]:,}")
    return (Table(head, tuple(rows), long=(0, 1, 2)),)


def checkpoints(detail: RunDetail) -> tuple[Block, ...]:
    blocks_found: list[Block] = []
    if detail.checkpoints:
        rows = []
        for saved in detail.checkpoints:
            size = f"{saved.size_bytes / 1e6:,.1f} MB"
            rows.append((f"{saved.step:,}", saved.kind, size, moment(saved.at), saved.path))
        head = ("step", "kind", "size", "at", "folder")
        blocks_found.append(Table(head, tuple(rows), right=(0, 2)))
    state = detail.row.state
    if isinstance(state, Finished) and state.cause:
        blocks_found.append(Points((state.cause,)))
    if detail.best is not None:
        blocks_found.append(Points((f"best: {detail.best.text}",)))
    return tuple(blocks_found)


def alarms(facts: RunFacts) -> tuple[Block, ...]:
    detail = facts.detail
    if not detail.alarms:
        return ()
    over = ["" if alarm.over_step is None else f"since step {alarm.over_step:,}" for alarm in detail.alarms]
    rows = [(f"{alarm.step:,}", alarm.text, end) for alarm, end in zip(detail.alarms, over, strict=True)]
    earlier = detail.alarms_total - len(detail.alarms)
    more = f"{earlier} earlier" if earlier > 0 else ""
    return (Table(("step", "alarm", "over"), tuple(rows), right=(0,), more=more),)


def machine(run_facts: RunFacts) -> tuple[Block, ...]:
    detail, row = run_facts.detail, run_facts.detail.row
    state = row.state
    facts = [("run", f"{row.name}, number {row.id}"), ("state", state_words(row)), ("device", detail.device)]
    if isinstance(state, Ended) and state.since is not None:
        span = f"{moment(state.since)} to {moment(state.ended)}"
        facts.append(("trained", f"{span}, {(state.ended - state.since) / 60:,.1f} min"))
    trainable, whole = detail.planned.get("trainable_parameters"), detail.planned.get("parameters")
    if trainable and whole:
        facts.append(("learns", f"{trainable / 1e6:,.1f} of {whole / 1e6:,.0f} M parameters"))
    facts += [("tags", ", ".join(row.tags)), ("note", row.note)]
    facts.append(("versions", ", ".join(f"{name} {number}" for name, number in detail.versions.items())))
    if run_facts.outcome is not None:
        for which, model in run_facts.outcome.models.items():
            what = "adapter" if model.get("adapter") else "weights"  # an adapter leaves the base's weights
            facts.append((f"{which}, sha256 of the {what}", str(model.get(what, "-"))))
        facts.append(("plan of the check, sha256", run_facts.outcome.plan_hash))
    for parent in detail.parents:
        at = "" if parent.step is None else f", step {parent.step:,}"
        facts.append(("started from", f"{parent.name}{at}, as its {parent.setting}"))
    facts += [("start of others", ", ".join(child.name for child in detail.children))]
    return (Facts(tuple((name, text) for name, text in facts if text)),)
