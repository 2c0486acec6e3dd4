"""One check from start to verdict: the base scored in full, then the tuned model, look by look, until decided.

Running out of memory halves the batches, and both models are scored anew in the smaller ones. Whatever was
scored stays in the cache.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from finetop.core import models
from finetop.core.check import cache, conclusion, drift, noise, planning, sequential, target
from finetop.core.check.candidates import (
    Candidates,
    Name,
    as_base,
    as_tuned,
    facts_of,
    free_memory,
    open_candidates,
)
from finetop.core.check.outcome import assemble
from finetop.core.check.scorer import LEAST_ROW_TOKENS, BatchPlan, longest_input, packs_exactly, plan_for
from finetop.core.check.scoring import (
    LOOK_ITEMS,
    Cell,
    Exam,
    Examinee,
    keep,
    keys_of,
    known,
    prepare,
    score_cell,
)
from finetop.core.check.suite import find_suite
from finetop.core.check.tasks import build
from finetop.core.check.verdict import TaskPlan
from finetop.core.errors import EnvironmentTrouble
from finetop.core.events import Phase, Scores
from finetop.core.recipe.schema import General
from finetop.core.train import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from finetop.core.check.cache import ScoreKey
    from finetop.core.check.permutation import Key
    from finetop.core.check.suite import Suite
    from finetop.core.check.verdict import CheckResult
    from finetop.core.events import EventLog, ItemScore
    from finetop.core.home import Home
    from finetop.core.recipe.schema import Metric, Recipe

SLOWEST_PHASE_S = 0.5  # a phase is told at most this often


@dataclass
class Paper:
    """All that one check works with, and what it has told so far."""

    recipe: Recipe
    general: General
    suite: Suite
    exam: Exam
    windows: drift.Windows
    target_rows: list[target.TargetRow]
    candidates: Candidates
    facts: Mapping[Name, Mapping[str, Any]]
    excluded: tuple[Key, ...]
    home: Home
    events: EventLog
    told_at: float = 0.0
    told: set[tuple[Name, Key]] = field(default_factory=set)


@dataclass(frozen=True)
class Sheet:
    """What one model has scored: items, drift windows, target rows by metric."""

    items: dict[Key, ItemScore]
    windows: list[ItemScore]
    target: dict[Metric, dict[str, ItemScore]]


def check(recipe: Recipe, checkpoint: Path, home: Home, device: str, events: EventLog) -> dict[str, Any]:
    """Check a checkpoint against its base and give the result as plain data.

    Raises BadInput for a recipe, suite or checkpoint that can't be used, EnvironmentTrouble where even the
    smallest batch does not fit the memory.
    """
    began = time.monotonic()
    paper = open_paper(recipe, checkpoint, home, device, events)
    plan = plan_for(device)
    while True:
        try:
            found = take(paper, plan)
            break
        except (RuntimeError, MemoryError) as error:
            if not failures.is_out_of_memory(error):
                raise
            if plan.row_tokens <= LEAST_ROW_TOKENS:
                hint = "Free some memory, or check on a larger device."
                raise EnvironmentTrouble(
                    f"out of memory even with rows of {plan.row_tokens} tokens.", hint=hint
                ) from error
        free_memory(device)
        plan = plan.halved()
        print(f"out of memory: both models are scored again in rows of {plan.row_tokens} tokens", flush=True)
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def open_paper(recipe: Recipe, checkpoint: Path, home: Home, device: str, events: EventLog) -> Paper:
    """Read everything that a check needs but the models' weights, so that bad input fails early."""
    general = recipe.check.general or General()
    suite = find_suite(general.suite, home)
    events.write(Phase("loading model"))
    base = models.resolve(recipe.model, home, events)
    candidates = open_candidates(base, checkpoint, recipe.model.dtype, device)
    tokenizer = models.load_tokenizer(base)
    longest = longest_input(_config(base))
    exam = prepare(build(suite, tokenizer), tokenizer, longest, general.seed)
    wanted = recipe.check.target
    return Paper(
        recipe=recipe,
        general=general,
        suite=suite,
        exam=exam,
        windows=drift.windows_of(suite.text.read_text(encoding="utf-8"), tokenizer) if suite.text else (),
        target_rows=target.read_rows(wanted, tokenizer, home, longest) if wanted else [],
        candidates=candidates,
        facts={
            "base": facts_of(candidates, "base", tokenizer, home),
            "tuned": facts_of(candidates, "tuned", tokenizer, home),
        },
        excluded=_contaminated(recipe, exam, home),
        home=home,
        events=events,
    )


def _config(base: models.ResolvedModel) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(
        base.path, trust_remote_code=base.trust_remote_code, local_files_only=True
    )


def _contaminated(recipe: Recipe, exam: Exam, home: Home) -> tuple[Key, ...]:
    from finetop.core.check.contamination import contaminated
    from finetop.core.train import sources

    def texts() -> Iterable[str]:
        for source in recipe.data.train:
            for row in sources.read(source, home):
                yield from (message.content for message in row.conversation.messages)

    return contaminated({item.key: exam.questions[item.key].text for item in exam.items}, texts())


def take(paper: Paper, plan: BatchPlan) -> dict[str, Any]:
    """Run the whole check under one batch plan."""
    base_sheet, plan, floor = take_base(paper, plan)
    items = [item for item in paper.exam.items if item.key not in set(paper.excluded)]
    check_plan = planning.make_plan(
        [TaskPlan(task.name, task.metric, task.chance) for task in paper.suite.tasks],
        items,
        {key: score.score for key, score in base_sheet.items.items()},
        seed=paper.general.seed,
        cap=None,
        margin=paper.general.margin / 100,
        alpha=paper.general.alpha,
        look_items=LOOK_ITEMS,
        excluded=paper.excluded,
    )
    state = sequential.begin(check_plan, {key: score.score for key, score in base_sheet.items.items()})
    examinee = _examinee(paper, "tuned", plan)
    tuned_sheet, state = take_tuned(paper, examinee, state)
    result: CheckResult = conclusion.conclude(state)
    kl = None
    if paper.candidates.is_adapter and paper.windows:
        with as_tuned(paper.candidates) as model:
            kl = drift.divergence(model, model.disable_adapter, paper.windows)
    return assemble(
        result,
        suite=paper.suite.name,
        exam=paper.exam,
        excluded=paper.excluded,
        base=base_sheet.items,
        tuned={key: score for key, score in tuned_sheet.items.items() if key in state.tuned},
        target={
            metric: target.compare(
                metric, target.rows_for(metric, paper.target_rows), base_sheet.target[metric], scores
            )
            for metric, scores in tuned_sheet.target.items()
        },
        drift=None
        if not paper.windows
        else {
            "base": drift.nats_per_token(paper.windows, base_sheet.windows),
            "tuned": drift.nats_per_token(paper.windows, tuned_sheet.windows),
            "tokens": sum(len(window) - 1 for window in paper.windows),
            "kl": kl,
        },
        noise_floor=floor,
        models={
            name: {**facts, "layout": plan.layout, "row_tokens": plan.row_tokens}
            for name, facts in paper.facts.items()
        },
    )


def take_base(paper: Paper, plan: BatchPlan) -> tuple[Sheet, BatchPlan, dict[str, int]]:
    """Score the base on every item, and against itself, from the cache as far as that goes."""
    examinee = _examinee(paper, "base", plan)
    with _Model(paper, "base") as model:
        examinee = replace(examinee, model=model)
        missing = _missing(paper, examinee)
        if missing and plan.layout == "packed" and not packs_exactly(model()):
            examinee = replace(examinee, plan=BatchPlan("plain", plan.row_tokens))
        items = _all_items(paper, paper.exam, examinee, "scoring base")
        other = noise.other_plan(examinee)
        quick = noise.noise_exam(paper.exam, paper.candidates.device)
        floor = _all_items(paper, quick, other, "noise floor", tell=False)
        windows = _windows(paper, examinee)
        reached = _target(paper, examinee)
    flips = noise.flips(items, floor)
    return Sheet(items, windows, reached), examinee.plan, {"items": len(floor), "flips": flips}


def take_tuned(paper: Paper, examinee: Examinee, state: sequential.Check) -> tuple[Sheet, sequential.Check]:
    """Score the tuned model look by look until the check is decided; then its target and drift."""
    keys = keys_of(paper.exam, examinee)
    scores = known(paper.exam, keys, paper.home.scores)
    cell_of = {(cell.task, item): cell for cell in paper.exam.cells for item in cell.items}
    began, total, fresh = time.monotonic(), len(state.plan.order), 0
    with _Model(paper, "tuned") as model:
        examinee = replace(examinee, model=model)
        while look := sequential.next_items(state):
            for item in look:
                if item.key in scores:
                    continue
                _score_into(paper, paper.exam, examinee, keys, cell_of[item.key], scores)
                fresh += len(cell_of[item.key].items)
                _phase(
                    paper, "scoring tuned", len(state.tuned), total, began, fresh, total - len(state.tuned)
                )
            _tell(paper, "tuned", keys, {item.key: scores[item.key] for item in look})
            state = sequential.feed(state, {item.key: scores[item.key].score for item in look})
            _phase(paper, "scoring tuned", len(state.tuned), total, began, fresh, total - len(state.tuned))
        sheet = Sheet(scores, _windows(paper, examinee), _target(paper, examinee))
    return sheet, state


def _all_items(
    paper: Paper, exam: Exam, examinee: Examinee, phase: str, *, tell: bool = True
) -> dict[Key, ItemScore]:
    """Score every cell of an exam that the cache does not have."""
    keys = keys_of(exam, examinee)
    scores = {
        key: score for key, score in known(exam, keys, paper.home.scores).items() if key in exam.questions
    }
    wanted = {item.key for item in exam.items}
    scores = {key: score for key, score in scores.items() if key in wanted}
    if tell:
        _tell(paper, "base", keys, scores)
    began, fresh, before = time.monotonic(), 0, len(scores)
    for cell in exam.cells:
        if all((cell.task, item) in scores for item in cell.items):
            continue
        _phase(paper, phase, len(scores), len(wanted), began, fresh, len(wanted) - before - fresh)
        found = _score_into(paper, exam, examinee, keys, cell, scores)
        fresh += len(cell.items)
        if tell:
            _tell(paper, "base", keys, found)
    return scores


def _score_into(
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


def _windows(paper: Paper, examinee: Examinee) -> list[ItemScore]:
    prompts = drift.prompts_of(paper.windows)
    key = _extra_key(examinee, {"name": "drift", "window": drift.WINDOW})
    return _kept(
        paper,
        key,
        prompts,
        lambda: drift.score_windows(examinee.model(), paper.windows),
        f"drift of {examinee.name}",
    )


def _target(paper: Paper, examinee: Examinee) -> dict[Metric, dict[str, ItemScore]]:
    wanted = paper.recipe.check.target
    reached: dict[Metric, dict[str, ItemScore]] = {}
    for metric in wanted.metrics if wanted else ():
        assert wanted is not None
        rows = target.rows_for(metric, paper.target_rows)
        key = _extra_key(examinee, target.task_facts(metric, rows, wanted))

        def work(metric: Metric = metric, rows: Sequence[target.TargetRow] = rows) -> list[ItemScore]:
            return target.score_rows(
                metric, rows, wanted, examinee.model(), paper.exam.tokenizer, examinee.plan
            )

        prompts = {row.item: row.prompt_hash for row in rows}
        scores = _kept(paper, key, prompts, work, f"target of {examinee.name}")
        reached[metric] = {score.item: score for score in scores}
    return reached


def _extra_key(examinee: Examinee, task: Mapping[str, Any]) -> ScoreKey:
    plan = examinee.plan
    return cache.score_key({**examinee.facts, "layout": plan.layout, "row_tokens": plan.row_tokens}, task)


def _kept(
    paper: Paper, key: ScoreKey, prompts: Mapping[str, str], work: Callable[[], list[ItemScore]], phase: str
) -> list[ItemScore]:
    """Take scores from the cache if all are there, else do the work and keep it."""
    found = cache.read(paper.home.scores, key, prompts)
    if len(found) < len(prompts):
        paper.events.write(Phase(phase))
        scores = work()
        cache.append(paper.home.scores, key, scores, prompts)
        found = {score.item: score for score in scores}
    return [found[item] for item in prompts]


def _missing(paper: Paper, examinee: Examinee) -> bool:
    """Say if the base must be loaded to be scored on some item."""
    found = known(paper.exam, keys_of(paper.exam, examinee), paper.home.scores)
    return any(item.key not in found for item in paper.exam.items)


def _examinee(paper: Paper, name: Name, plan: BatchPlan) -> Examinee:
    return Examinee(name, paper.facts[name], _not_loaded, plan)


def _not_loaded() -> Any:
    raise AssertionError("a model is asked for outside of its turn")


class _Model:
    """A model that is loaded at its first call, and whose adapter is put back when its turn ends."""

    def __init__(self, paper: Paper, name: Name) -> None:
        self.paper = paper
        self.name = name
        self.turn: AbstractContextManager[Any] | None = None
        self.model: Any = None

    def __enter__(self) -> _Model:
        return self

    def __call__(self) -> Any:
        if self.turn is None:
            self.paper.events.write(Phase("loading model"))
            self.turn = (as_base if self.name == "base" else as_tuned)(self.paper.candidates)
            self.model = self.turn.__enter__()
        return self.model

    def __exit__(self, *error: Any) -> None:
        self.model = None
        if self.turn is not None:
            self.turn.__exit__(*error)


def _tell(paper: Paper, name: Name, keys: Mapping[str, ScoreKey], scores: Mapping[Key, ItemScore]) -> None:
    """Write scores to the events, each item once, so that the run's folder holds all of them."""
    by_task: dict[str, list[ItemScore]] = {}
    for key, score in scores.items():
        if (name, key) not in paper.told:
            paper.told.add((name, key))
            by_task.setdefault(key[0], []).append(score)
    for task, items in by_task.items():
        paper.events.write(Scores(name, keys[task].name, task, items))


def _phase(paper: Paper, phase: str, done: int, total: int, began: float, fresh: int, left: int) -> None:
    """Say how far it is; the time left is what the items left would take at the pace so far, at most."""
    now = time.monotonic()
    if now - paper.told_at < SLOWEST_PHASE_S:
        return
    paper.told_at = now
    left_s = round(left * (now - began) / fresh, 1) if fresh else None
    paper.events.write(Phase(phase, done, total, "items", left_s))
