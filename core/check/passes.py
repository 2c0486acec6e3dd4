"""The passes over a model that make up a check: items, drift windows, target rows, each from the cache if it can be.

Each pass tells its progress, and writes item scores to the events, so that the run's folder holds all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.check.candidates import as_base, as_tuned
from finetop.core.check.scoring import cache, drift, target
from finetop.core.check.scoring.cells import Cell, Exam, Examinee, keep, keys_of, known, score_cell
from finetop.core.events import Phase, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from finetop.core.check.candidates import Name
    from finetop.core.check.deciding.permutation import Key
    from finetop.core.check.paper import Paper
    from finetop.core.check.scoring.cache import ScoreKey
    from finetop.core.events import ItemScore
    from finetop.core.recipe.schema import Metric

SLOWEST_PHASE_S = 0.5  # a phase is told at most this often


@dataclass(frozen=True)
class Sheet:
    """What one model has scored: items, drift windows, target rows by metric."""

    items: dict[Key, ItemScore]
    windows: list[ItemScore]
    target: dict[Metric, dict[str, ItemScore]]


class LoadedWhenAsked:
    """A model that is loaded at its first call, and whose adapter is put back when its turn ends."""

    def __init__(self, paper: Paper, name: Name) -> None:
        self.paper = paper
        self.name = name
        self.turn: AbstractContextManager[Any] | None = None
        self.model: Any = None

    def __enter__(self) -> LoadedWhenAsked:
        return self

    def __call__(self) -> Any:
        if self.turn is None:
            if self.paper.candidates.checkpoint is not None:  # else it trains, and is in memory
                self.paper.events.write(Phase("loading model"))
            self.turn = (as_base if self.name == "base" else as_tuned)(self.paper.candidates)
            self.model = self.turn.__enter__()
        return self.model

    def __exit__(self, *error: Any) -> None:
        self.model = None
        if self.turn is not None:
            self.turn.__exit__(*error)


def score_items(
    paper: Paper, exam: Exam, examinee: Examinee, phase: str, *, tell: bool = True
) -> dict[Key, ItemScore]:
    """Score every cell of an exam that the cache does not have."""
    keys = keys_of(exam, examinee)
    wanted = {item.key for item in exam.items}
    scores = {key: score for key, score in known(exam, keys, paper.home.scores).items() if key in wanted}
    if tell:
        tell_scores(paper, "base", keys, scores)
    began, fresh, before = time.monotonic(), 0, len(scores)
    for cell in exam.cells:
        if all((cell.task, item) in scores for item in cell.items):
            continue
        tell_phase(paper, phase, len(scores), len(wanted), began, fresh, len(wanted) - before - fresh)
        found = score_into(paper, exam, examinee, keys, cell, scores)
        fresh += len(cell.items)
        if tell:
            tell_scores(paper, "base", keys, found)
    return scores


def score_into(
    paper: Paper,
    exam: Exam,
    examinee: Examinee,
    keys: Mapping[str, ScoreKey],
    cell: Cell,
    scores: dict[Key, ItemScore],
) -> dict[Key, ItemScore]:
    """Score a cell, keep it in the cache and add it to the scores."""
    found = score_cell(exam, examinee, cell)
    keep(exam, keys, paper.home.scores, cell, found)
    new = {(cell.task, score.item): score for score in found}
    scores.update(new)
    return new


def score_windows(paper: Paper, examinee: Examinee) -> list[ItemScore]:
    prompts = drift.prompts_of(paper.windows)
    key = _extra_key(examinee, {"name": "drift", "window": drift.WINDOW})
    return _kept(
        paper,
        key,
        prompts,
        lambda: drift.score_windows(examinee.model(), paper.windows),
        f"drift of {examinee.name}",
    )


def score_target(paper: Paper, examinee: Examinee) -> dict[Metric, dict[str, ItemScore]]:
    wanted = paper.recipe.check.target
    reached: dict[Metric, dict[str, ItemScore]] = {}
    for metric in wanted.metrics if wanted else ():
        assert wanted is not None
        rows = target.rows_for(metric, paper.target_rows, paper.candidates.device)
        key = _extra_key(examinee, target.task_facts(metric, rows, wanted))

        def work(metric: Metric = metric, rows: Sequence[target.TargetRow] = rows) -> list[ItemScore]:
            return target.score_rows(
                metric, rows, wanted, examinee.model(), paper.exam.tokenizer, examinee.plan
            )

        prompts = {row.item: row.prompt_hash for row in rows}
        scores = _kept(paper, key, prompts, work, f"target of {examinee.name}")
        reached[metric] = {score.item: score for score in scores}
    return reached


def _extra_key(examinee: Examinee, task: Mapping[str, Any]) -> ScoreKey | None:
    if examinee.facts is None:
        return None
    plan = examinee.plan
    return cache.score_key({**examinee.facts, "layout": plan.layout, "row_tokens": plan.row_tokens}, task)


def _kept(
    paper: Paper,
    key: ScoreKey | None,
    prompts: Mapping[str, str],
    work: Callable[[], list[ItemScore]],
    phase: str,
) -> list[ItemScore]:
    """Take scores from the cache if all are there, else do the work and keep it."""
    found = cache.read(paper.home.scores, key, prompts) if key else {}
    if len(found) < len(prompts):
        paper.events.write(Phase(phase))
        scores = work()
        if key:
            cache.append(paper.home.scores, key, scores, prompts)
        found = {score.item: score for score in scores}
    return [found[item] for item in prompts]


def is_missing(paper: Paper, examinee: Examinee) -> bool:
    """Say if the base must be loaded to be scored on some item."""
    found = known(paper.exam, keys_of(paper.exam, examinee), paper.home.scores)
    return any(item.key not in found for item in paper.exam.items)


def tell_scores(
    paper: Paper, name: Name, keys: Mapping[str, ScoreKey], scores: Mapping[Key, ItemScore]
) -> None:
    """Write scores to the events, each item once, so that the run's folder holds all of them."""
    by_task: dict[str, list[ItemScore]] = {}
    for key, score in scores.items():
        if (name, key) not in paper.told:
            paper.told.add((name, key))
            by_task.setdefault(key[0], []).append(score)
    for task, items in by_task.items():
        kept_under = keys[task].name if keys else ""
        step = paper.step if name == "tuned" else None
        paper.events.write(Scores(name, kept_under, task, items, step))


def tell_phase(paper: Paper, phase: str, done: int, total: int, began: float, fresh: int, left: int) -> None:
    """Say how far it is; the time left is what the items left would take at the pace so far, at most."""
    now = time.monotonic()
    if now - paper.told_at < SLOWEST_PHASE_S:
        return
    paper.told_at = now
    left_s = round(left * (now - began) / fresh, 1) if fresh else None
    paper.events.write(Phase(phase, done, total, "items", left_s))
