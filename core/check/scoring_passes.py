"""The passes over a model that make up a check: items, drift windows, target rows, each from the cache if it can be.

Each pass tells its progress; the item scores that count are written to the events, so that the run's folder
holds them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from finetop.core.check.model_pair import as_base, as_tuned
from finetop.core.check.scoring import cache, drift, target
from finetop.core.check.scoring.batches import Cell, Exam, Examinee, keep, keys_of, known, score_cell
from finetop.core.protocol.events import Phase, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from finetop.core.check.context import Paper
    from finetop.core.check.scoring.batch_plan import Name
    from finetop.core.check.scoring.cache import ScoreKey
    from finetop.core.check.statistics.item_order import Item, Key
    from finetop.core.protocol.events import ItemScore
    from finetop.core.recipe.schema import Metric

SLOWEST_PHASE_S = 0.5  # a phase is told at most this often


@dataclass(frozen=True)
class Sheet:
    """What one model has scored: items, drift windows, target rows by metric."""

    items: dict[Key, ItemScore]
    windows: list[ItemScore]
    target: dict[Metric, dict[str, ItemScore]]


@dataclass(frozen=True)
class Sitting:
    """One model at its exam: how it is asked, and what it has scored so far, from the cache or anew."""

    exam: Exam
    examinee: Examinee
    keys: Mapping[str, ScoreKey]  # of the cache, by task; none where nothing is kept
    cell_of: Mapping[Key, Cell]
    scores: dict[Key, ItemScore]  # grows

    @property
    def values(self) -> dict[Key, float]:
        """Give the scores as the statistics take them."""
        return {key: score.score for key, score in self.scores.items()}


def sit(
    paper: Paper, exam: Exam, examinee: Examinee, scored: Mapping[Key, ItemScore] | None = None
) -> Sitting:
    """Open an exam for a model: with what it has `scored` already and what the cache knows."""
    keys = keys_of(exam, examinee)
    return Sitting(
        exam=exam,
        examinee=examinee,
        keys=keys,
        cell_of={(cell.task, item): cell for cell in exam.cells for item in cell.items},
        scores={**known(exam, keys, paper.home.scores), **(scored or {})},
    )


@contextmanager
def turn(paper: Paper, sitting: Sitting) -> Iterator[Sitting]:
    """Let a sitting's model be had, loaded at its first use; its adapter is put back when the turn ends."""
    with LoadedWhenAsked(paper, sitting.examinee.name) as model:
        yield replace(sitting, examinee=replace(sitting.examinee, model=model))


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
            if not self.paper.candidates.is_loaded(self.name):
                self.paper.events.write(Phase(said(self.paper, "loading model")))
            self.turn = (as_base if self.name == "base" else as_tuned)(self.paper.candidates)
            self.model = self.turn.__enter__()
        return self.model

    def __exit__(self, *error: Any) -> None:
        self.model = None
        if self.turn is not None:
            self.turn.__exit__(*error)


@dataclass
class Pace:
    """How quickly items are scored, of one model or both by turns: what the time left is told by."""

    began: float = field(default_factory=time.monotonic)
    fresh: int = 0  # items scored since


def unscored(sitting: Sitting, items: Iterable[Item]) -> list[Item]:
    """Give the items that the model has no score of."""
    return [item for item in items if item.key not in sitting.scores]


def score_missing(
    paper: Paper, sitting: Sitting, items: Sequence[Item], pace: Pace, tell: Callable[[], None]
) -> None:
    """Score the items that have no score yet, in their cells, and keep them; `tell` says how far it is."""
    for item in items:
        if item.key in sitting.scores:
            continue
        tell()
        cell = sitting.cell_of[item.key]
        found = score_cell(sitting.exam, sitting.examinee, cell)
        keep(sitting.exam, sitting.keys, paper.home.scores, cell, found)
        sitting.scores.update({(cell.task, score.item): score for score in found})
        pace.fresh += len(cell.items)


def score_items(paper: Paper, sitting: Sitting, items: Sequence[Item], phase: str) -> None:
    """Score the items that have no score yet, as a phase of their own."""
    pace = Pace()

    def tell() -> None:
        left = len(unscored(sitting, items))
        tell_phase(paper, phase, len(items) - left, len(items), pace, left)

    score_missing(paper, sitting, items, pace, tell)


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


def rows_of(paper: Paper, metric: Metric) -> Sequence[target.TargetRow]:
    """Give the target's rows that a metric is measured on."""
    wanted = paper.recipe.check.target
    assert wanted is not None
    return target.rows_for(metric, paper.target_rows, paper.candidates.device, wanted)


def score_target(paper: Paper, examinee: Examinee) -> dict[Metric, dict[str, ItemScore]]:
    wanted = paper.recipe.check.target
    reached: dict[Metric, dict[str, ItemScore]] = {}
    for metric in wanted.metrics if wanted else ():
        assert wanted is not None
        rows = rows_of(paper, metric)
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
        paper.events.write(Phase(said(paper, phase)))
        scores = work()
        if key:
            cache.append(paper.home.scores, key, scores, prompts)
        found = {score.item: score for score in scores}
    return [found[item] for item in prompts]


def tell_scores(paper: Paper, sitting: Sitting, items: Iterable[Item]) -> None:
    """Write the scores of items to the events, each once, so that the run's folder holds all that counts."""
    if not paper.tells_scores:
        return
    name = sitting.examinee.name
    by_task: dict[str, list[ItemScore]] = {}
    for item in items:
        if (name, item.key) not in paper.told:
            paper.told.add((name, item.key))
            by_task.setdefault(item.task, []).append(sitting.scores[item.key])
    for task, scores in by_task.items():
        kept_under = sitting.keys[task].name if sitting.keys else ""
        paper.events.write(Scores(name, kept_under, task, scores, paper.step if name == "tuned" else None))


def tell_phase(paper: Paper, phase: str, done: int, total: int, pace: Pace, left: int) -> None:
    """Say how far it is; the time left is what the items left would take at the pace so far, at most."""
    now = time.monotonic()
    if now - paper.told_at < SLOWEST_PHASE_S:
        return
    paper.told_at = now
    left_s = round(left * (now - pace.began) / pace.fresh, 1) if pace.fresh else None
    paper.events.write(Phase(said(paper, phase), done, total, "items", left_s))


def said(paper: Paper, phase: str) -> str:
    """Name a phase, and the model that is asked where there are several."""
    return f"{paper.of}: {phase}" if paper.of else phase
