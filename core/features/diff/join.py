"""Joins one task of two sample logs on document hash and prompt hash, and picks the deciding metric and its chance.

A score under another prompt answers another question. Items that do not join are counted by reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from finetop.core.check.statistics.verdict import TaskPlan
from finetop.core.protocol.check_result import ALPHA, MARGIN
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.features.diff.samples import DocKey, Sample, TaskLog

    BothSamples = tuple[Mapping[DocKey, Sample], Mapping[DocKey, Sample]]

FIRST_METRICS = ("acc", "exact_match", "acc_norm")
NEVER_DECIDE = frozenset(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"))
NEVER_DECIDE |= {"likelihood", "brier_score", "bypass"}
JOINED = 0.9
SURE = 1 - 1e-9  # the highest chance allowed (it must be below 1), used where every target is the same


class DiffOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller fixes. `metrics` maps a task to its metric, and "" to that of all others; cap 0 means no cap."""

    metrics: dict[str, str] = {}
    filter: str = ""
    margin: float = MARGIN / 100
    alpha: float = ALPHA
    seed: int = 1
    cap: int | None = None
    joined: float = JOINED


class TaskJoin(msgspec.Struct, frozen=True, kw_only=True):
    """What joined of one task and what did not; `left_out` is why the task is not compared at all."""

    task: str
    metric: str = ""
    filter: str = ""
    joined: int = 0
    only_base: int = 0
    only_tuned: int = 0
    other_prompt: int = 0  # the document is in both logs, under different prompts
    other_target: int = 0
    no_score: int = 0  # in both, but one of them has no finite score
    first_no_score: str = ""  # file:line
    first_other_target: str = ""
    left_out: str = ""

    @property
    def union(self) -> int:
        apart = self.only_base + self.only_tuned + self.other_prompt + self.other_target
        return self.joined + apart + self.no_score


class Joined(msgspec.Struct, frozen=True):
    """The whole join: the share of the union that joined, and the tasks."""

    joined: int
    union: int
    tasks: tuple[TaskJoin, ...]

    @property
    def share(self) -> float:
        return self.joined / self.union if self.union else 0.0


@dataclass(frozen=True)
class Pair:
    base: Sample
    tuned: Sample


@dataclass(frozen=True)
class Compared:
    """A task that is compared: both logs, the metric's position in each, and the pairs."""

    plan: TaskPlan
    base: TaskLog
    tuned: TaskLog
    base_place: int
    tuned_place: int
    pairs: Mapping[DocKey, Pair]


def join_task(
    task: str, base: TaskLog | None, tuned: TaskLog | None, options: DiffOptions
) -> tuple[TaskJoin, Compared | None]:
    """Join one task, or return why it is left out."""
    if base is None or tuned is None:
        where = "the base's" if tuned is None else "the tuned model's"
        return TaskJoin(task=task, left_out=f"only in {where} log"), None
    versions = [log.results.version(task) if log.results else "" for log in (base, tuned)]
    if all(versions) and versions[0] != versions[1]:
        why = f"version {versions[0]} in the base's log, {versions[1]} in the tuned model's"
        return TaskJoin(task=task, left_out=why), None
    names = _filters(base, tuned, options.filter)
    if names is None:
        here, there = (", ".join(log.filters) or "none" for log in (base, tuned))
        return TaskJoin(task=task, left_out=f"no filter in common ({here}; {there})"), None
    samples = (base.filters[names[0]], tuned.filters[names[1]])
    metric, why = _metric((base, tuned), samples, options.metrics.get(task, options.metrics.get("", "")))
    if why:
        return TaskJoin(task=task, metric=metric, filter=names[0], left_out=why), None
    places = (base.metrics.index(metric), tuned.metrics.index(metric))
    join, pairs = _join((base, tuned), metric, names[0], samples, places)
    plan = TaskPlan(task, metric, _chance(base, [pair.base for pair in pairs.values()]))
    return join, Compared(plan, base, tuned, *places, pairs)


def _filters(base: TaskLog, tuned: TaskLog, wanted: str) -> tuple[str, str] | None:
    """Choose the filter in each log: the wanted one, else the first that both have; None if they share none.

    Logs up to 0.4.5 without their results file do not name filters; there the position decides.
    """
    here, there = list(base.filters), list(tuned.filters)
    if wanted in here and wanted in there:
        return wanted, wanted
    common = [name for name in here if name in there]
    if common:
        return common[0], common[0]
    if not any(names[0] in ("", "#1") for names in (here, there)):
        return None
    place = next((names.index(wanted) for names in (here, there) if wanted in names), 0)
    return (here[place], there[place]) if place < min(len(here), len(there)) else None


def _metric(logs: tuple[TaskLog, TaskLog], samples: BothSamples, wanted: str) -> tuple[str, str]:
    """Choose the metric that decides: (name, "") or (name, why none can decide)."""
    ranges = [_ranges(log, log_samples) for log, log_samples in zip(logs, samples, strict=True)]
    both = [name for name in ranges[0] if name in ranges[1]]
    lower = frozenset[str]().union(*(log.results.lower_is_better(log.task) for log in logs if log.results))
    reasons = {name: _refused(name, ranges, lower) for name in both}
    if wanted:
        if wanted not in both:
            return wanted, f"no score {plain(wanted)} in both logs (there is {', '.join(both) or 'none'})"
        return wanted, reasons[wanted]
    usable = [name for name in both if not reasons[name]]
    for name in (*FIRST_METRICS, *usable):
        if name in usable:
            return name, ""
    named = ", ".join(dict.fromkeys((*logs[0].metrics, *logs[1].metrics))) or "no metric"
    return "", f"no metric that is bounded to [0, 1] in both logs ({named})"


def _refused(name: str, ranges: Sequence[Mapping[str, tuple[float, float]]], lower: frozenset[str]) -> str:
    """Return why a metric can't decide; "" if it can."""
    low, high = min(bounds[name][0] for bounds in ranges), max(bounds[name][1] for bounds in ranges)
    if name in NEVER_DECIDE:
        return f"{name} never decides"
    if low < 0 or high > 1:
        return f"{name} runs from {low:g} to {high:g}; only scores in [0, 1] can decide"
    return f"lower is better in {name}" if name in lower else ""


def _ranges(log: TaskLog, samples: Mapping[DocKey, Sample]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest finite score of each metric that has one."""
    ranges = {}
    for place, name in enumerate(log.metrics):
        scores = [score for sample in samples.values() if isfinite(score := sample.score(place))]
        if scores:
            ranges[name] = (min(scores), max(scores))
    return ranges


def _join(
    logs: tuple[TaskLog, TaskLog],
    metric: str,
    filter_name: str,
    samples: BothSamples,
    places: tuple[int, int],
) -> tuple[TaskJoin, dict[DocKey, Pair]]:
    """Pair the documents that have the same prompt in both logs, and count the rest by reason."""
    base, tuned = samples
    pairs: dict[DocKey, Pair] = {}
    other_target: list[str] = []
    no_score: list[str] = []
    for key, before in base.items():
        if (after := tuned.get(key)) is None:
            continue
        if before.target and after.target and before.target != after.target:
            other_target.append(place_of(logs[1], after))
        elif not isfinite(before.score(places[0])):
            no_score.append(place_of(logs[0], before))
        elif not isfinite(after.score(places[1])):
            no_score.append(place_of(logs[1], after))
        else:
            pairs[key] = Pair(before, after)
    only_base = Counter(doc for doc, prompt in base if (doc, prompt) not in tuned)
    only_tuned = Counter(doc for doc, prompt in tuned if (doc, prompt) not in base)
    other_prompt = (only_base & only_tuned).total()
    join = TaskJoin(
        task=logs[0].task,
        metric=metric,
        filter=filter_name,
        joined=len(pairs),
        only_base=only_base.total() - other_prompt,
        only_tuned=only_tuned.total() - other_prompt,
        other_prompt=other_prompt,
        other_target=len(other_target),
        no_score=len(no_score),
        first_no_score=no_score[0] if no_score else "",
        first_other_target=other_target[0] if other_target else "",
    )
    return join, pairs


def _chance(log: TaskLog, samples: Sequence[Sample]) -> float:
    """Return what guessing scores: 1/choices, the most common answer's share if these are fixed, 0 if it is written."""
    if not samples:
        return 0.0
    chance = sum(1 / sample.choices for sample in samples if sample.choices) / len(samples)
    if log.same_choices and all(sample.target for sample in samples):
        chance = max(chance, Counter(sample.target for sample in samples).most_common(1)[0][1] / len(samples))
    return min(chance, SURE)


def place_of(log: TaskLog, sample: Sample) -> str:
    return f"{log.file.path.name}:{sample.line}"
