"""Scores the questions of a suite on one model, cell by cell, with what is known already taken from the cache.

A cell is what goes to the model together: a task's items of one look (of eleven looks, where answers are
written: there a batch costs nearly as much for few as for many). The items on which the base is measured
first are in cells apart, or to score them would be to score nearly all. Cells are fixed by the suite, its
caps and the seed alone: not by which tasks turn out measurable, which items are contaminated or where a check
stops. So base and tuned get the very same batches, and a model checked against itself gets the very same
scores.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring import cache
from finetop.core.check.scoring.batch_plan import Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.grading import judge_answer, judge_likelihoods
from finetop.core.check.scoring.prefix_cache import PrefixMemory, find, room_for
from finetop.core.check.scoring.scorer import encode_pair, encode_prompt, score
from finetop.core.check.statistics.item_order import (
    Item,
    Key,
    cap_items,
    clusters_of,
    looks_of,
    permute,
    sample_stages,
)
from finetop.core.check.statistics.verdict import TaskPlan
from finetop.core.check.tasks.questions import ask, chance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from finetop.core.check.scoring.batch_plan import BatchPlan, Name
    from finetop.core.check.scoring.cache import ScoreKey
    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.prefix_cache import Prefixes
    from finetop.core.check.statistics.item_order import Stages
    from finetop.core.check.tasks.types import BenchmarkTask, Question
    from finetop.core.protocol.events import ItemScore

Inputs = tuple["TokenSequence | Prompt", ...]

LOOK_ITEMS = 64
SAMPLE_ITEMS = (
    100  # of each task, on which the base is measured at first; the least that 3 standard errors mean much of
)
LOOKS_WRITTEN_TOGETHER = 11  # a suite of 700 items: a step of 96 answers takes 1.5 times one of 40 on a CPU


@dataclass(frozen=True)
class Cell:
    """Items of one task that go to the model together."""

    task: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Exam:
    """A suite made ready for one base model: its tasks, chosen items in their order, and cells."""

    tasks: Mapping[str, BenchmarkTask]
    plans: tuple[TaskPlan, ...]  # of each task, what decides
    questions: Mapping[Key, Question]
    prompts: Mapping[str, Mapping[str, str]]  # of each task, item -> hash of its prompt
    items: tuple[Item, ...]  # capped, in the order of the permutation
    stages: Stages  # of each task: the parts of the sample on which the base is measured
    cells: tuple[Cell, ...]
    inputs: Mapping[Key, Inputs]  # of each item, as tokens
    prefixes: Mapping[str, Prefixes]  # of each task: beginnings that its items share
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class Examinee:
    """One model and how it is run.

    What the cache must know it by, and how to get at it (it may never be loaded).
    """

    name: Name
    facts: Mapping[str, Any] | None  # None: nothing of it is kept in the cache
    model: Callable[[], Any]
    plan: BatchPlan
    memories: dict[str, PrefixMemory] = field(default_factory=dict)  # by task; of this model alone


def prepare(
    tasks: Sequence[BenchmarkTask], tokenizer: PreTrainedTokenizerBase, longest: int, seed: int
) -> Exam:
    """Choose the items, each task capped by the seed, ask them, put them in order and cut them into cells."""
    by_name = {task.name: task for task in tasks}
    chosen: list[Item] = []
    asked: dict[str, tuple[Question, ...]] = {}
    for task in tasks:
        kept = cap_items((document.item for document in task.documents), task.suite_task.cap, seed)
        chosen.extend(kept)
        asked[task.name] = ask(task, kept, tokenizer)
    order = permute(chosen, seed)
    stages = sample_stages(chosen, SAMPLE_ITEMS, seed)
    inputs = {
        name: {question.item.key: _inputs(question, tokenizer, longest) for question in questions}
        for name, questions in asked.items()
    }
    return Exam(
        tasks=by_name,
        plans=tuple(
            TaskPlan(task.name, task.metric, chance_of(task, asked[task.name]), task.suite_task.weight)
            for task in tasks
        ),
        questions={question.item.key: question for questions in asked.values() for question in questions},
        prompts={
            name: {question.item.item: question.prompt_hash for question in questions}
            for name, questions in asked.items()
        },
        items=order,
        stages=stages,
        cells=_cells(order, by_name, stages),
        inputs={key: one for of_task in inputs.values() for key, one in of_task.items()},
        prefixes={name: find(of_task.values()) for name, of_task in inputs.items()},
        tokenizer=tokenizer,
    )


def _cells(order: Sequence[Item], tasks: Mapping[str, BenchmarkTask], stages: Stages) -> tuple[Cell, ...]:
    stage_of = {
        item.key: stage for parts in stages.values() for stage, part in enumerate(parts) for item in part
    }
    cells: dict[tuple[int, str, int], list[str]] = defaultdict(list)
    for number, look in enumerate(looks_of(clusters_of(order), LOOK_ITEMS)):
        for item in look:
            stage = stage_of[item.key]
            together = _looks_together(tasks[item.task], stages[item.task], stage)
            cells[number - number % together, item.task, stage].append(item.item)
    in_order = sorted(cells.items(), key=lambda entry: entry[0][0])
    return tuple(Cell(task, tuple(items)) for (_, task, _), items in in_order)


def _looks_together(task: BenchmarkTask, parts: Sequence[Sequence[Item]], stage: int) -> int:
    """Say of how many looks a cell holds the items of this part of the sample.

    Of the first part, which always is scored, of so many that a cell is as large as one of an unsampled task.
    """
    usual = LOOKS_WRITTEN_TOGETHER if task.kind == "generation" else 1
    return usual * (sum(map(len, parts)) // len(parts[0])) if stage == 0 else usual


def keys_of(exam: Exam, examinee: Examinee) -> dict[str, ScoreKey]:
    """Give the cache key of each task for a model; none for one that nothing is kept of."""
    if examinee.facts is None:
        return {}
    plan = examinee.plan
    run = {**examinee.facts, "layout": plan.layout, "row_tokens": plan.row_tokens}
    keys = {}
    for name, task in exam.tasks.items():
        cells = [list(cell.items) for cell in exam.cells if cell.task == name]
        batches = hashlib.sha256(json.dumps([cells, exam.prefixes[name].tokens]).encode()).hexdigest()
        facts = {"name": name, "settings": task.fingerprint, "batches": batches}
        keys[name] = cache.score_key(run, facts)
    return keys


def known(exam: Exam, keys: Mapping[str, ScoreKey], folder: Path) -> dict[Key, ItemScore]:
    """Read all of a model's scores that the cache has."""
    found: dict[Key, ItemScore] = {}
    for name, key in keys.items():
        kept = cache.read(folder, key, exam.prompts[name])
        found.update({(name, item): score for item, score in kept.items()})
    return found


def keep(
    exam: Exam, keys: Mapping[str, ScoreKey], folder: Path, cell: Cell, scores: Sequence[ItemScore]
) -> None:
    """Add a cell's scores to the cache; those of a model without a key are not kept."""
    if keys:
        cache.append(folder, keys[cell.task], scores, exam.prompts[cell.task])


def score_cell(exam: Exam, examinee: Examinee, cell: Cell) -> list[ItemScore]:
    """Run a cell's items on the model."""
    task = exam.tasks[cell.task]
    questions = [exam.questions[cell.task, item] for item in cell.items]
    inputs = [exam.inputs[question.item.key] for question in questions]
    memory = _memory(exam, examinee, cell.task)
    together: Any = [one for of_item in inputs for one in of_item]
    if task.kind == "generation":
        answers = answer(examinee.model(), exam.tokenizer, together, examinee.plan, memory)
        return [judge_answer(task, question, text) for question, text in zip(questions, answers, strict=True)]
    scored = iter(score(examinee.model(), together, examinee.plan, memory))
    return [
        judge_likelihoods(task, question, [next(scored) for _ in of_item])
        for question, of_item in zip(questions, inputs, strict=True)
    ]


def _memory(exam: Exam, examinee: Examinee, task: str) -> PrefixMemory | None:
    """Give what the model remembers of a task's shared beginnings; None where it has none."""
    if not exam.prefixes[task].tokens:
        return None
    if task not in examinee.memories:
        sharing = sum(bool(prefixes.tokens) for prefixes in exam.prefixes.values())
        room = room_for(str(examinee.model().device)) // sharing
        examinee.memories[task] = PrefixMemory(exam.prefixes[task], room)
    return examinee.memories[task]


def _inputs(question: Question, tokenizer: PreTrainedTokenizerBase, longest: int) -> Inputs:
    """Tokenize a question: each choice behind the context, or the prompt alone."""
    if question.pairs:
        return tuple(encode_pair(tokenizer, context, text, longest) for context, text in question.pairs)
    tokens = encode_prompt(tokenizer, question.prompt, longest, question.max_new_tokens)
    return (Prompt(tokens, question.stop, question.max_new_tokens),)
