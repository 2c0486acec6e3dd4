"""Compares two sample logs and reaches the same verdict as a check, without a model.

If less than 90 % joins (of the union of the compared tasks' items) there is no verdict: items are rarely missing
by chance.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.paired_tests import count_categories
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import CheckPlan, PairedItem, no_verdict
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.features.diff.join import Compared, DiffOptions, Joined, Pair, TaskJoin, join_task
from finetop.core.features.diff.sample_text import answer_of, gold_of, question_of
from finetop.core.features.diff.samples import SampleLog, read_log, read_row
from finetop.core.protocol.check_result import CheckResult
from finetop.core.text import counted, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CAP = 500  # items per task if there are several tasks
FLIPS_KEPT = 300
NOT_IN_LOGS = ("suite", "target", "drift", "contamination", "step", "checkpoint", "general")


@dataclass(frozen=True)
class _PlanItem:
    """An item of the plan."""

    task: Compared
    pair: Pair
    scores: PairedItem

    @property
    def rise(self) -> float:
        return self.scores.tuned - self.scores.base


def diff(base_path: Path, tuned_path: Path, options: DiffOptions) -> dict[str, Any]:
    """Compare a tuned model's log with its base's and return the whole result, in the form that result.read accepts.

    Beside the fields of CheckResult it has `joined`: share, counts and one entry per task. Raises NotFound or BadInput
    for a path that is no log, an unknown task, metric or filter, or a number out of range.
    """
    started = time.monotonic()
    if not 0 <= options.joined <= 1:
        raise BadInput(f"--joined is {options.joined:g}.", hint="Give a share from 0 to 1; 0.9 is usual.")
    if options.cap is not None and options.cap < 0:
        raise BadInput(f"--cap is {options.cap}.", hint="Give at least 1 item a task, or 0 for all of them.")
    base, tuned = _same_names(read_log(base_path), read_log(tuned_path))
    _check_names(options, base, tuned)
    joins, compared = [], []
    for task in sorted(base.tasks.keys() | tuned.tasks.keys()):
        join, pairs = join_task(task, base.tasks.get(task), tuned.tasks.get(task), options)
        joins.append(join)
        compared += [pairs] if pairs else []
    whole = Joined(sum(j.joined for j in joins), sum(j.union for j in joins if not j.left_out), tuple(joins))
    plan = _plan(compared, options)
    drawn = _drawn(plan, compared)
    result = _judge(plan, drawn, whole, options)
    scored = [entry.scores for entry in drawn] if result.items_used else []  # logs know no categories
    result = msgspec.structs.replace(
        result,
        notes=tuple(_notes(base, tuned, whole, options, plan)),
        categories=count_categories((pair.task, "", pair.base, pair.tuned) for pair in scored),
        models={"base": _model(base), "tuned": _model(tuned)},
    )
    return {
        **{key: value for key, value in msgspec.to_builtins(result).items() if key not in NOT_IN_LOGS},
        "flips": _flips(drawn) if result.items_used else [],
        "joined": {**msgspec.to_builtins(whole), "share": whole.share, "asked": options.joined},
        "seconds": time.monotonic() - started,
    }


def _same_names(base: SampleLog, tuned: SampleLog) -> tuple[SampleLog, SampleLog]:
    """Let two single files be compared whatever their names: a renamed file does not name its task."""
    names = [next(iter(log.tasks)) for log in (base, tuned) if len(log.tasks) == 1]
    if len(names) < 2 or names[0] == names[1]:
        return base, tuned
    logs = (base.tasks[names[0]], tuned.tasks[names[1]])
    known = [log.task for log in logs if log.file.named]
    if len(known) == 2:
        return base, tuned
    name = known[0] if known else names[0]
    tasks = [{name: replace(task, task=name)} for task in logs]
    return replace(base, tasks=tasks[0]), replace(tuned, tasks=tasks[1])


def _check_names(options: DiffOptions, base: SampleLog, tuned: SampleLog) -> None:
    """Refuse a requested task, metric or filter that is in neither log."""
    logs = [*base.tasks.values(), *tuned.tasks.values()]
    tasks = base.tasks.keys() | tuned.tasks.keys()
    for task, metric in options.metrics.items():
        if task and task not in tasks:
            raise BadInput(f"--metric: there is no task {plain(task)}.", hint=did_you_mean(task, tasks))
        known = {name for log in logs if not task or log.task == task for name in log.metrics}
        if known and metric not in known:
            where = f" of {plain(task)}" if task else ""
            hint = did_you_mean(metric, known)
            raise BadInput(f"--metric: no metric{where} is {plain(metric)}.", hint=hint)
    filters = {name for log in logs for name in log.filters}
    if options.filter and options.filter not in filters:
        hint = did_you_mean(options.filter, filters)
        raise BadInput(f"--filter: no filter is {plain(options.filter)}.", hint=hint)


def _plan(compared: Sequence[Compared], options: DiffOptions) -> CheckPlan:
    """Fix items, caps and order before reading any of the tuned model's scores."""
    cap = options.cap if options.cap is not None else CAP if len(compared) > 1 else 0
    scores = {key: pair.base.score(task.base_place) for key, (task, pair) in _by_key(compared).items()}
    items = [Item(*key) for key in scores]
    plans, seed = [task.plan for task in compared], options.seed
    margin, alpha = options.margin, options.alpha
    return make_plan(plans, items, scores, seed=seed, cap=cap or None, margin=margin, alpha=alpha)


def _by_key(compared: Sequence[Compared]) -> dict[tuple[str, str], tuple[Compared, Pair]]:
    pairs = [(task, key, pair) for task in compared for key, pair in task.pairs.items()]
    return {(task.plan.name, f"{key[0]} {key[1]}"): (task, pair) for task, key, pair in pairs}


def _judge(plan: CheckPlan, drawn: Sequence[_PlanItem], whole: Joined, options: DiffOptions) -> CheckResult:
    if all(task.left_out for task in whole.tasks):
        return no_verdict(plan, "no task could be compared: " + "; ".join(map(_left_out, whole.tasks)) + ".")
    if whole.share < options.joined:
        return no_verdict(plan, _too_few(whole, options.joined))
    return check_pairs(plan, [entry.scores for entry in drawn])


def _share(whole: Joined) -> str:
    share = int(1000 * whole.share) / 10  # rounded down: 89.97 is not 90
    return f"{whole.joined:,} of {whole.union:,} items joined ({share:g} %)"


def _too_few(whole: Joined, bar: float) -> str:
    reasons = {
        "only in the base's log": sum(task.only_base for task in whole.tasks),
        "only in the tuned model's": sum(task.only_tuned for task in whole.tasks),
        "under another prompt": sum(task.other_prompt for task in whole.tasks),
        "with another target": sum(task.other_target for task in whole.tasks),
        "without a score": sum(task.no_score for task in whole.tasks),
    }
    details = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    return f"{_share(whole)}, under {100 * bar:g} %: {details}. Score both models on the same items, or lower --joined."


def _drawn(plan: CheckPlan, compared: Sequence[Compared]) -> list[_PlanItem]:
    """Return the plan's items with both samples and scores."""
    by_key, drawn = _by_key(compared), []
    for item in plan.order:
        task, pair = by_key[item.key]
        before, after = pair.base.score(task.base_place), pair.tuned.score(task.tuned_place)
        drawn.append(_PlanItem(task, pair, PairedItem(item.task, item.item, "", before, after)))
    return drawn


def _flips(drawn: Sequence[_PlanItem]) -> list[dict[str, Any]]:
    """List the items that changed, with both answers, lost ones first; texts are read from the files again."""
    changed = [entry for entry in drawn if entry.scores.base != entry.scores.tuned]
    changed.sort(key=lambda entry: (entry.rise, entry.scores.task, entry.scores.item))
    return [_flip(entry) for entry in changed[:FLIPS_KEPT]]


def _flip(entry: _PlanItem) -> dict[str, Any]:
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


def _notes(
    base: SampleLog, tuned: SampleLog, whole: Joined, options: DiffOptions, plan: CheckPlan
) -> list[str]:
    """Return notes on what was left out, what was chosen, and what is wrong with the files, one line each."""
    notes = [_share(whole), *(f"left out  {_left_out(task)}" for task in whole.tasks if task.left_out)]
    if plan.cap is not None and (capped := sum(task.joined > plan.cap for task in whole.tasks)):
        more = f"{counted(capped, 'task')} {'has' if capped == 1 else 'have'} more"
        notes.append(f"at most {plan.cap} items a task count, drawn by seed {plan.seed}: {more}")
    for task in whole.tasks:
        notes += _join_notes(task, base, tuned, options)
    for whose, log in (("base's log", base), ("tuned model's log", tuned)):
        notes += [f"{whose}  {note}" for note in log.notes]
        notes += list(_faults(whose, log))
    notes += _filter_notes(base, whole.tasks)
    return notes


def _join_notes(task: TaskJoin, base: SampleLog, tuned: SampleLog, options: DiffOptions) -> Iterable[str]:
    """Explain why items of a compared task did not join, where the table does not show it."""
    if task.left_out:
        return
    if task.joined < options.joined * task.union:
        yield f"{task.task}: only {task.joined:,} of its {task.union:,} items joined"
    if task.other_prompt:
        results = [log.tasks[task.task].results for log in (base, tuned)]
        shots = [of_log.num_fewshot(task.task) if of_log else None for of_log in results]
        why = f" ({shots[0]} examples in the base's, {shots[1]} in the tuned model's)"
        why = why if shots[0] != shots[1] else ""
        yield f"{task.task}: {task.other_prompt:,} documents had another prompt{why}"
    if task.other_target:
        yield f"{task.task}: {task.other_target:,} items have another target (first: {task.first_other_target})"
    if task.no_score:
        missing = f"{task.no_score:,} items have no finite {task.metric}"
        yield f"{task.task}: {missing} (first: {task.first_no_score})"


def _faults(whose: str, log: SampleLog) -> Iterable[str]:
    """Sum up faults over all tasks by kind, each with the place of its first occurrence."""
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
    names = ("model_name", "lm_eval_version", "chat_template_sha")
    facts = {name: getattr(results, name, None) for name in names}
    return {"path": str(log.path)} | {name: fact for name, fact in facts.items() if isinstance(fact, str)}
