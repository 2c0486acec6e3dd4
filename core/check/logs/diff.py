"""Compares two sample logs: what joins, with which metric and chance, and the same verdict as a check of ours.

Nothing here needs a model. Items are joined on task, document hash and prompt hash, since a score under
another prompt answers another question; what does not join is counted with its reason, and under a share
of 90 % (of the union of the compared tasks' items) there is no verdict: what is missing is seldom missing by
chance.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check.deciding.conclusion import judge_pairs
from finetop.core.check.deciding.permutation import Item
from finetop.core.check.deciding.planning import make_plan
from finetop.core.check.deciding.verdict import CheckPlan, CheckResult, PairedItem, TaskPlan, no_verdict
from finetop.core.check.logs.sample_text import answer_of, gold_of, question_of
from finetop.core.check.logs.samples import DocKey, Sample, SampleLog, TaskLog, read_log, read_row
from finetop.core.check.telling.result import FORMAT
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.recipe.names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FIRST_METRICS = ("acc", "exact_match", "acc_norm")
NEVER_DECIDE = frozenset(
    [
        "perplexity",
        "word_perplexity",
        "byte_perplexity",
        "bits_per_byte",
        "likelihood",
        "brier_score",
        "bypass",
    ]
)
CAP = 500  # items a task, where there are several
JOINED = 0.9
FLIPS_KEPT = 300
SURE = 1 - 1e-9  # chance of a task whose target is always the same, which has to be below 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller fixes. `metrics` maps a task to its metric, and "" to that of all others; cap 0 is none."""

    metrics: dict[str, str] = {}
    filter: str = ""
    margin: float = 0.03
    alpha: float = 0.05
    seed: int = 1
    cap: int | None = None
    joined: float = JOINED


class TaskJoin(msgspec.Struct, frozen=True, kw_only=True):
    """What joined of one task, and what did not; `left_out` says why the task is not compared at all."""

    task: str
    metric: str = ""
    filter: str = ""
    joined: int = 0
    only_base: int = 0
    only_tuned: int = 0
    other_prompt: int = 0  # the document is in both, asked in another way
    other_target: int = 0
    no_score: int = 0  # in both, without a finite score in one
    first_no_score: str = ""  # file:line
    first_other_target: str = ""
    left_out: str = ""

    @property
    def union(self) -> int:
        apart = self.only_base + self.only_tuned + self.other_prompt + self.other_target
        return self.joined + apart + self.no_score


class Joined(msgspec.Struct, frozen=True):
    """All of the join: share of the union that joined, by task, and what is to be said."""

    joined: int
    union: int
    tasks: tuple[TaskJoin, ...]

    @property
    def share(self) -> float:
        return self.joined / self.union if self.union else 0.0


@dataclass(frozen=True)
class _Pair:
    base: Sample
    tuned: Sample


@dataclass(frozen=True)
class _Compared:
    """A task that is compared: both logs, the metric's place in each, and the pairs."""

    plan: TaskPlan
    base: TaskLog
    tuned: TaskLog
    base_place: int
    tuned_place: int
    pairs: Mapping[DocKey, _Pair]


@dataclass(frozen=True)
class _Drawn:
    """An item of the plan."""

    task: _Compared
    pair: _Pair
    scores: PairedItem


def diff(base_path: Path, tuned_path: Path, asked: Asked) -> dict[str, Any]:
    """Compare the log of a tuned model with its base's: the whole result, as result.read takes it.

    Beside the fields of Outcome it has `joined`: share, counts and one entry a task. Raises NotFound or BadInput
    for what is no log, an unknown task, metric or filter, or a number out of range.
    """
    started = time.monotonic()
    _check(asked)
    base, tuned = _same_names(read_log(base_path), read_log(tuned_path))
    _check_names(asked, base, tuned)
    joins, compared = [], []
    for task in sorted(base.tasks.keys() | tuned.tasks.keys()):
        join, found = _join_task(task, base.tasks.get(task), tuned.tasks.get(task), asked)
        joins.append(join)
        compared += [found] if found else []
    whole = Joined(sum(j.joined for j in joins), sum(j.union for j in joins if not j.left_out), tuple(joins))
    plan = _plan(compared, asked)
    drawn = _drawn(plan, compared)
    result = _judge(plan, drawn, whole, asked)
    return {
        **msgspec.to_builtins(result),
        "format": FORMAT,
        "notes": _notes(base, tuned, whole, asked, plan),
        "flips": _flips(drawn) if result.items_used else [],
        "categories": _categories(drawn) if result.items_used else [],
        "models": {"base": _model(base), "tuned": _model(tuned)},
        "joined": {**msgspec.to_builtins(whole), "share": whole.share, "asked": asked.joined},
        "seconds": time.monotonic() - started,
    }


def _check(asked: Asked) -> None:
    if not 0 <= asked.joined <= 1:
        raise BadInput(f"--joined is {asked.joined:g}.", hint="Give a share from 0 to 1; 0.9 is usual.")
    if asked.cap is not None and asked.cap < 0:
        raise BadInput(f"--cap is {asked.cap}.", hint="Give at least 1 item a task, or 0 for all of them.")


def _same_names(base: SampleLog, tuned: SampleLog) -> tuple[SampleLog, SampleLog]:
    """Let two single files be compared whatever they are called: a renamed file has no task's name in it."""
    names = [next(iter(log.tasks)) for log in (base, tuned) if len(log.tasks) == 1]
    if len(names) < 2 or names[0] == names[1]:
        return base, tuned
    logs = (base.tasks[names[0]], tuned.tasks[names[1]])
    known = [log.task for log in logs if log.file.named]
    if len(known) == 2:
        return base, tuned
    name = known[0] if known else names[0]
    renamed = [
        SampleLog(log.path, {name: replace(task, task=name)}, log.notes)
        for log, task in zip((base, tuned), logs, strict=True)
    ]
    return renamed[0], renamed[1]


def _check_names(asked: Asked, base: SampleLog, tuned: SampleLog) -> None:
    """Refuse what was asked for and is in neither log."""
    logs = [*base.tasks.values(), *tuned.tasks.values()]
    tasks = base.tasks.keys() | tuned.tasks.keys()
    for task, metric in asked.metrics.items():
        if task and task not in tasks:
            raise BadInput(f"--metric: there is no task {plain(task)}.", hint=did_you_mean(task, tasks))
        known = {name for log in logs if not task or log.task == task for name in log.metrics}
        if known and metric not in known:
            where = f" of {plain(task)}" if task else ""
            raise BadInput(
                f"--metric: no metric{where} is {plain(metric)}.", hint=did_you_mean(metric, known)
            )
    filters = {name for log in logs for name in log.filters}
    if asked.filter and asked.filter not in filters:
        raise BadInput(
            f"--filter: no filter is {plain(asked.filter)}.", hint=did_you_mean(asked.filter, filters)
        )


def _join_task(
    task: str, base: TaskLog | None, tuned: TaskLog | None, asked: Asked
) -> tuple[TaskJoin, _Compared | None]:
    """Join one task, or say why it is left out."""
    if base is None or tuned is None:
        where = "the base's" if tuned is None else "the tuned model's"
        return TaskJoin(task=task, left_out=f"only in {where} log"), None
    versions = [log.results.version(task) if log.results else "" for log in (base, tuned)]
    if all(versions) and versions[0] != versions[1]:
        why = f"version {versions[0]} in the base's log, {versions[1]} in the tuned model's"
        return TaskJoin(task=task, left_out=why), None
    names = _filters(base, tuned, asked.filter)
    if names is None:
        here, there = (", ".join(log.filters) or "none" for log in (base, tuned))
        return TaskJoin(task=task, left_out=f"no filter in common ({here}; {there})"), None
    samples = (base.filters[names[0]], tuned.filters[names[1]])
    wanted = asked.metrics.get(task, asked.metrics.get("", ""))
    metric, why = _metric((base, tuned), samples, wanted)
    if why:
        return TaskJoin(task=task, metric=metric, filter=names[0], left_out=why), None
    places = (base.metrics.index(metric), tuned.metrics.index(metric))
    join, pairs = _join((base, tuned), metric, names[0], samples, places)
    found = _Compared(
        plan=TaskPlan(task, metric, _chance(base, [pair.base for pair in pairs.values()])),
        base=base,
        tuned=tuned,
        base_place=places[0],
        tuned_place=places[1],
        pairs=pairs,
    )
    return join, found


def _filters(base: TaskLog, tuned: TaskLog, wanted: str) -> tuple[str, str] | None:
    """Choose the filter in each log: the wanted, or the first of both; None where there is none in common.

    Logs up to 0.4.5 without their results file do not name filters; then the place decides.
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


def _metric(
    logs: tuple[TaskLog, TaskLog],
    samples: tuple[Mapping[DocKey, Sample], Mapping[DocKey, Sample]],
    wanted: str,
) -> tuple[str, str]:
    """Choose the metric that decides: (name, "") or (name, why none does)."""
    ranges = [_ranges(log, found) for log, found in zip(logs, samples, strict=True)]
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
    """Say why a metric cannot decide; "" where it can."""
    low, high = min(found[name][0] for found in ranges), max(found[name][1] for found in ranges)
    if name in NEVER_DECIDE:
        return f"{name} never decides"
    if low < 0 or high > 1:
        return f"{name} runs from {low:g} to {high:g}; only scores in [0, 1] can decide"
    return f"lower is better in {name}" if name in lower else ""


def _ranges(log: TaskLog, samples: Mapping[DocKey, Sample]) -> dict[str, tuple[float, float]]:
    """Give lowest and highest finite score of each metric that has one."""
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
    samples: tuple[Mapping[DocKey, Sample], Mapping[DocKey, Sample]],
    places: tuple[int, int],
) -> tuple[TaskJoin, dict[DocKey, _Pair]]:
    """Pair the documents that both logs asked alike, and count the others by reason."""
    base, tuned = samples
    pairs: dict[DocKey, _Pair] = {}
    other_target: list[str] = []
    no_score: list[str] = []
    for key, before in base.items():
        if (after := tuned.get(key)) is None:
            continue
        if before.target and after.target and before.target != after.target:
            other_target.append(_place(logs[1], after))
        elif not isfinite(before.score(places[0])):
            no_score.append(_place(logs[0], before))
        elif not isfinite(after.score(places[1])):
            no_score.append(_place(logs[1], after))
        else:
            pairs[key] = _Pair(before, after)
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
    """Give what guessing scores: 1 over the choices, or the commonest answer's share where choices are fixed.

    0 where answers are written.
    """
    if not samples:
        return 0.0
    chance = sum(1 / sample.choices for sample in samples if sample.choices) / len(samples)
    if log.same_choices and all(sample.target for sample in samples):
        chance = max(chance, Counter(sample.target for sample in samples).most_common(1)[0][1] / len(samples))
    return min(chance, SURE)


def _plan(compared: Sequence[_Compared], asked: Asked) -> CheckPlan:
    """Fix items, caps and order before any of the tuned model's scores is looked at."""
    cap = asked.cap if asked.cap is not None else CAP if len(compared) > 1 else 0
    items = [Item(task.plan.name, _name(key)) for task in compared for key in task.pairs]
    base = {
        (task.plan.name, _name(key)): pair.base.score(task.base_place)
        for task in compared
        for key, pair in task.pairs.items()
    }
    return make_plan(
        [task.plan for task in compared],
        items,
        base,
        seed=asked.seed,
        cap=cap or None,
        margin=asked.margin,
        alpha=asked.alpha,
    )


def _judge(plan: CheckPlan, drawn: Sequence[_Drawn], whole: Joined, asked: Asked) -> CheckResult:
    if all(task.left_out for task in whole.tasks):
        return no_verdict(plan, "no task could be compared: " + "; ".join(map(_left_out, whole.tasks)) + ".")
    if whole.share < asked.joined:
        return no_verdict(plan, _too_few(whole, asked.joined))
    return judge_pairs(plan, [entry.scores for entry in drawn])


def _too_few(whole: Joined, bar: float) -> str:
    reasons = {
        "only in the base's log": sum(task.only_base for task in whole.tasks),
        "only in the tuned model's": sum(task.only_tuned for task in whole.tasks),
        "under another prompt": sum(task.other_prompt for task in whole.tasks),
        "with another target": sum(task.other_target for task in whole.tasks),
        "without a score": sum(task.no_score for task in whole.tasks),
    }
    said = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    share = int(1000 * whole.share) / 10  # rounded down: 89.97 is not 90
    return (
        f"{whole.joined:,} of {whole.union:,} items joined ({share:g} %), under {100 * bar:g} %: {said}."
        f" Score both models on the same items, or lower --joined."
    )


def _drawn(plan: CheckPlan, compared: Sequence[_Compared]) -> list[_Drawn]:
    """Give the plan's items with both samples and scores."""
    by_key = {
        (task.plan.name, _name(key)): (task, pair) for task in compared for key, pair in task.pairs.items()
    }
    drawn = []
    for item in plan.order:
        task, pair = by_key[item.key]
        before, after = pair.base.score(task.base_place), pair.tuned.score(task.tuned_place)
        drawn.append(_Drawn(task, pair, PairedItem(item.task, item.item, "", before, after)))
    return drawn


def _flips(drawn: Sequence[_Drawn]) -> list[dict[str, Any]]:
    """List the items that changed with both answers, lost ones first; texts are read from the files again."""
    changed = [entry for entry in drawn if entry.scores.base != entry.scores.tuned]
    changed.sort(
        key=lambda entry: (entry.scores.tuned - entry.scores.base, entry.scores.task, entry.scores.item)
    )
    return [_flip(entry) for entry in changed[:FLIPS_KEPT]]


def _flip(entry: _Drawn) -> dict[str, Any]:
    task, pair, scores = entry.task, entry.pair, entry.scores
    before, after = read_row(task.base, pair.base), read_row(task.tuned, pair.tuned)
    return {
        "task": scores.task,
        "item": pair.base.doc_id,
        "category": "",
        "question": question_of(before),
        "gold": gold_of(before),
        "base": scores.base,
        "tuned": scores.tuned,
        "base_answer": answer_of(before, task.plan.metric),
        "tuned_answer": answer_of(after, task.plan.metric),
    }


def _categories(drawn: Sequence[_Drawn]) -> list[dict[str, Any]]:
    """Count lost and won items by task, most losses first; logs know no finer categories."""
    seen: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for scores in (entry.scores for entry in drawn):
        seen[scores.task] += 1
        lost[scores.task] += scores.tuned < scores.base
        won[scores.task] += scores.tuned > scores.base
    order = sorted(seen, key=lambda task: (-lost[task], task))
    return [
        {"task": task, "category": "", "n": seen[task], "lost": lost[task], "won": won[task]}
        for task in order
    ]


def _notes(base: SampleLog, tuned: SampleLog, whole: Joined, asked: Asked, plan: CheckPlan) -> list[str]:
    """Say what was left out, chosen, and wrong with the files, a line each."""
    share = f"{whole.joined:,} of {whole.union:,} items joined ({int(1000 * whole.share) / 10:g} %)"
    notes = [share, *(f"left out  {_left_out(task)}" for task in whole.tasks if task.left_out)]
    if plan.cap is not None and (capped := sum(task.joined > plan.cap for task in whole.tasks)):
        of_tasks = "1 task has" if capped == 1 else f"{capped} tasks have"
        notes.append(f"at most {plan.cap} items a task count, drawn by seed {plan.seed}: {of_tasks} more")
    for task in whole.tasks:
        notes += _join_notes(task, base, tuned, asked)
    for whose, log in (("base's log", base), ("tuned model's log", tuned)):
        notes += [f"{whose}  {note}" for note in log.notes]
        notes += list(_faults(whose, log))
    notes += _filter_notes(base, whole.tasks)
    return notes


def _join_notes(task: TaskJoin, base: SampleLog, tuned: SampleLog, asked: Asked) -> Iterable[str]:
    """Say what of a compared task did not join for a reason that is not plain from the table."""
    if task.left_out:
        return
    if task.joined < asked.joined * task.union:
        yield f"{task.task}: only {task.joined:,} of its {task.union:,} items joined"
    if task.other_prompt:
        shots = [_num_fewshot(log.tasks[task.task]) for log in (base, tuned)]
        why = (
            f" ({shots[0]} examples in the base's, {shots[1]} in the tuned model's)"
            if shots[0] != shots[1]
            else ""
        )
        yield f"{task.task}: {task.other_prompt:,} documents were asked under another prompt{why}"
    if task.other_target:
        yield f"{task.task}: {task.other_target:,} items have another target (first: {task.first_other_target})"
    if task.no_score:
        said = f"{task.no_score:,} items have no finite {task.metric}"
        yield f"{task.task}: {said} (first: {task.first_no_score})"


def _faults(whose: str, log: SampleLog) -> Iterable[str]:
    """Sum the faults up over tasks, by kind, with the first place of each."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for task in log.tasks.values():
        for fault in task.faults:
            counts[fault.kind] += fault.count
            first.setdefault(fault.kind, fault.first)
    return (f"{whose}  {count:,} {kind} (first: {first[kind]})" for kind, count in counts.items())


def _filter_notes(base: SampleLog, tasks: Iterable[TaskJoin]) -> list[str]:
    notes = []
    for task in tasks:
        names = list(base.tasks[task.task].filters) if task.task in base.tasks and not task.left_out else []
        if len(names) > 1:
            others = ", ".join(name for name in names if name != task.filter)
            notes.append(f"{task.task}: filter {task.filter} counts, not {others}")
    return notes


def _left_out(task: TaskJoin) -> str:
    return f"{task.task}: {task.left_out}"


def _model(log: SampleLog) -> dict[str, Any]:
    results = next((task.results for task in log.tasks.values() if task.results), None)
    facts = {"path": str(log.path)}
    for name in ("model_name", "lm_eval_version", "chat_template_sha"):
        if results is not None and isinstance(value := getattr(results, name), str):
            facts[name] = value
    return facts


def _num_fewshot(log: TaskLog) -> int | None:
    return log.results.num_fewshot(log.task) if log.results else None


def _place(log: TaskLog, sample: Sample) -> str:
    return f"{log.file.path.name}:{sample.line}"


def _name(key: DocKey) -> str:
    return f"{key[0]} {key[1]}"
