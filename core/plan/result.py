"""A run's plan as data: memory by part and the verdict, steps, time, disk. Nothing is computed here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.errors import BadInput, FinetopError, Refused
from finetop.core.plan.memory import Part
from finetop.core.protocol.events import DataRead

# Sections of a recipe that decide what its run reads: runs of a sweep that share them are checked once.
READ_BY = ("model", "objective", "data", "ask", "protect", "check", "trainer_args")

Verdict = Literal["fits", "tight", "no", "unknown"]


class Fix(msgspec.Struct, frozen=True):
    """A change that makes a run fit: in words, as --set texts, and the memory it then needs, in bytes."""

    text: str
    sets: tuple[str, ...]
    need: float


class Sharded(msgspec.Struct, frozen=True):
    """What each of several GPUs would hold, in bytes."""

    way: str
    bytes: float


class Host(msgspec.Struct, frozen=True):
    """What the ranks on one machine hold beside its GPUs, and its total memory (None: unknown), in bytes."""

    ranks: int
    bytes: float
    total: float | None

    @property
    def lacks(self) -> bool:
        return self.total is not None and self.bytes > self.total


class Disk(msgspec.Struct, frozen=True):
    """What the checkpoints take, in bytes; `free` is None if unknown."""

    checkpoint: float
    kept: int
    optimizer: float  # states for resuming, beside each checkpoint
    total: float
    free: float | None


class Sampled(msgspec.Struct, frozen=True):
    """What numbers were estimated from: how many rows of how many, with 95 % intervals."""

    read: int
    of: int
    rows: tuple[int, int]
    tokens_per_epoch: tuple[int, int]
    steps: tuple[int, int]


class Steps(msgspec.Struct, frozen=True):
    """How long a run is. Tokens are of the whole run; None if the data could not be read."""

    rows: int
    eval_rows: int
    tokens_per_epoch: int
    longest: int
    how: str  # how tokens were counted
    rows_per_step: int
    steps: int
    tokens: int
    too_long: int = 0  # rows of more than data.max_tokens
    unlearned: int = 0  # rows left out since no token of them is learned: answers of weight 0, or cut off
    sequences: int | None = None  # sequences that the rows are packed into
    written: int = 0  # rows among these that the base writes before the first step
    sampled: Sampled | None = None  # None: every row was prepared
    sources: tuple[DataRead, ...] = ()  # what becomes of each source, as the run reports it


class Time(msgspec.Struct, frozen=True):
    seconds: float
    tokens_per_s: float
    source: str
    is_measured: bool
    writing: float = 0.0  # of these, for writing the answers that are learned from
    evaluation: float = 0.0  # and for evaluation passes, with the samples written at each
    saving: float = 0.0  # and for checkpoints
    starting: float = 0.0  # and until the first step: imports, reading the model, the drift probe's own start


class Plan(msgspec.Struct, frozen=True):
    """Everything that can be estimated of a run before it starts. Memory is of one device, in bytes."""

    model: str
    family: str
    parameters: int
    trainable: int
    device: str
    device_name: str
    dtype: str
    parts: tuple[Part, ...]
    estimate: float
    need: float
    capacity: float | None
    verdict: Verdict
    fix: Fix | None
    gpus: int
    sharded: tuple[Sharded, ...]
    steps: Steps | None
    time: Time | None
    disk: Disk
    notes: tuple[str, ...]
    host: Host | None = None  # for weights sharded over GPUs
    phase: str = ""  # in which the run holds the most, in words; `parts` are of it


class PlanRequest(msgspec.Struct, frozen=True):
    """A resolved recipe, and whether its first row and a rehearsal by the job's code are wanted: each takes seconds."""

    recipe: dict[str, Any]
    row: bool = True
    rehearse: bool = False


class Problem(msgspec.Struct, frozen=True):
    """What a job would end with, under the setting that causes it; `code` is its error's exit code."""

    key: str
    message: str
    hint: str
    code: int


def as_error(problem: Problem) -> FinetopError:
    """Turn a problem reported by another machine back into an error."""
    kind: type[FinetopError] = Refused if problem.code == Refused.exit_code else BadInput
    return kind(problem.message, hint=problem.hint)


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """One result: a plan, or the first row as runs of text that are learned or not; else why there is none."""

    plan: Plan | None = None
    row: list[tuple[str, bool]] | None = None
    trouble: str = ""
    problems: tuple[Problem, ...] = ()  # with the plan: what its job would end with
