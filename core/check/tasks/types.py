"""The kinds of tasks, and a request as it is put to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from finetop.core.check.statistics.item_order import Item
from finetop.core.check.tasks.suite import SuiteTask

LONGEST_ANSWER = 256  # tokens, where a task sets no limit: the default of the harness's own models
Kind = Literal["likelihood", "generation"]
KINDS: Mapping[str, Kind] = {
    "multiple_choice": "likelihood",
    "loglikelihood": "likelihood",
    "generate_until": "generation",
}


@dataclass(frozen=True)
class Document:
    """One item of a task, not rendered yet: its part, its number there, and its columns."""

    item: Item
    category: str
    part: Any  # the harness's task
    number: int

    @property
    def values(self) -> dict[str, Any]:
        """Read its columns."""
        return cast("dict[str, Any]", self.part.task_docs[self.number])


@dataclass(frozen=True)
class BenchmarkTask:
    """A task with all its documents, how it is answered and which metric grades the answers."""

    suite_task: SuiteTask
    place: str
    kind: Kind
    metric: str
    fingerprint: str  # of everything that can change a score, except the rows
    documents: tuple[Document, ...]

    @property
    def name(self) -> str:
        return self.suite_task.name


@dataclass(frozen=True)
class Request:
    """One item as a model gets it."""

    item: Item
    category: str
    text: str  # the question alone, to search for it in the training data
    pairs: tuple[tuple[str, str], ...]  # context and continuation, for each choice
    prompt: str  # what the model continues with its answer
    stop: tuple[str, ...]
    max_new_tokens: int
    choices: tuple[str, ...]
    gold: int | None  # the right choice, if there is one
    prompt_hash: str
    part: Any  # the harness's task, which grades
    instances: tuple[Any, ...]  # the harness's requests
