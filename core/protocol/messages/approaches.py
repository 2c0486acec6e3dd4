"""Comparisons of approaches: queued, listed, and shown whole."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from finetop.core.protocol.messages.limits import PRIORITIES, Large, Priority
from finetop.core.protocol.request import Order, Question

State = Literal["measured", "under way", "failed", "left out"]
Updates = Literal["index", "train", ""]


class Score(msgspec.Struct, frozen=True):
    """A mean over rows with its 95 % interval; of several seeds, each row is averaged over them first."""

    mean: float
    low: float
    high: float
    rows: int
    seeds: int = 1
    spread: float | None = None  # standard deviation of the seeds' means; None for one seed


class Gap(msgspec.Struct, frozen=True):
    """The paired difference to the best, over the rows that both were asked: 95 % interval."""

    mean: float
    low: float
    high: float
    rows: int

    @property
    def is_open(self) -> bool:
        """Say if the two are not told apart."""
        return self.low <= 0 <= self.high


class Retained(msgspec.Struct, frozen=True):
    """What became of what the base could. Points of 100; a positive drop is worse."""

    drop: float | None
    verdicts: list[str]  # of each checked run: ok, regressed, no_verdict
    same_weights: bool = False  # no weight moved: there is nothing to check
    spread: float | None = None
    margin: float | None = None  # of the checks: from there a drop has REGRESSED


class News(msgspec.Struct, frozen=True):
    """New facts that arrive afterwards: how they are taken in, how long that takes, and the score on them."""

    how: Updates
    before: Score | None = None
    after: Score | None = None
    gain: Gap | None = None  # after - before, paired
    seconds: float | None = None  # until it could answer them
    said: str = ""  # why there is no `after`


class Price(msgspec.Struct, frozen=True):
    """What a query costs: the same queries, answered one at a time, in several rounds. Seconds of a CPU or a GPU."""

    median: float  # of the rounds, each the mean of its queries
    low: float  # the cheapest round
    high: float  # the dearest
    of: str  # CPU or GPU
    queries: int  # in each round, the same ones for all approaches
    rounds: int  # of all seeds together
    others: float | None = (
        None  # the share of the machine's CPUs that other processes used meanwhile, at most
    )


class RunBrief(msgspec.Struct, frozen=True):
    """One run of an approach."""

    id: int
    name: str
    state: str  # queued, running, finished, stopped, failed, lost
    seed: int
    learns_news: bool = False  # trained anew on the new facts too
    is_measured: bool = False
    said: str = ""  # why it failed, or what it does


class ApproachRow(msgspec.Struct, frozen=True, kw_only=True):
    """One approach: how well it does on the target, and what it costs."""

    name: str
    about: str
    trains: bool
    state: State
    said: str = ""  # why it was left out, failed, or what it waits for
    runs: list[RunBrief] = []
    is_best: bool = False
    target: Score | None = None
    others: dict[str, Score] = {}  # by the target's other metrics
    gap: Gap | None = None  # to the best; None for the best itself
    other_gaps: dict[str, Gap] = {}  # by the target's other metrics: to the one that is best by it
    retained: Retained | None = None
    setup_s: float | None = None  # until it could answer: training or indexing, a seed's mean
    gpu_s: float | None = None  # of those, times the GPUs that it had; None: it had none
    energy_wh: float | None = None  # of the GPUs, where they told their power
    prompt_tokens: float | None = None  # a query's mean
    query: Price | None = None
    memory_gib: float | None = None  # the most while it answered
    memory_of: str = ""  # GPU or host
    news: News | None = None
    # Distinct rows that the measured checkpoint has read, or examples before each question; None: not known yet.
    rows_seen: int | None = None
    rows_given: int | None = None  # that it could have read
    epochs_seen: float | None = None  # of the seed that read least
    losses: tuple[float, float] | None = None  # in training, at its beginning and end: a seed's mean
    loss_midway: float | None = None  # the same, of the middle third of the steps
    notes: list[str] = []  # what it could not use of the documents, and questions that none of them fits


class Advice(msgspec.Struct, frozen=True):
    """One piece of advice: what for, and in words, from the numbers of the table alone."""

    topic: str
    text: str


class ComparisonBrief(msgspec.Struct, frozen=True):
    """A comparison in a list of them."""

    name: str
    created: float
    metric: str
    approaches: int
    runs: int
    measured: int
    to_come: int  # runs that run, wait, or are not measured yet


class ApproachRun(msgspec.Struct, frozen=True):
    """One run of a comparison."""

    name: str  # wanted; a number is added when it is taken
    approach: str
    seed: Large
    recipe: dict[str, Any]  # resolved
    digest: str = ""  # of recipe and data: a run with the same one is used again
    learns_news: bool = False


class QueuedApproach(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    approach: str
    was_there: bool  # of an earlier comparison, and is used again


class SubmitApproachesAnswer(msgspec.Struct, frozen=True):
    comparison: str
    runs: list[QueuedApproach]
    left_out: dict[str, str]


class SubmitApproaches(Order[SubmitApproachesAnswer], tag="submit-approaches", frozen=True):
    """Queue the runs of a comparison, all or none; runs of the same recipe on the same data are used again.

    A comparison of this name on the same `subject` takes them in, in place of what it has of these approaches.
    """

    makes_home: ClassVar[bool] = True

    name: str  # wanted; a number is added when one of that name is about something else
    subject: str
    metric: str
    runs: list[ApproachRun]
    left_out: dict[str, str]  # approach -> why it can't be had
    source: str
    held: bool = False
    priority: Priority = PRIORITIES["normal"]


class ApproachesAnswer(msgspec.Struct, frozen=True):
    comparisons: list[ComparisonBrief]  # the newest first
    name: str = ""
    metric: str = ""
    lower_is_better: bool = False
    model: str = ""
    target: str = ""  # the target's file, by its name
    rows: list[ApproachRow] = []  # measured ones best first, then the others
    advice: list[Advice] = []


class Approaches(Question[ApproachesAnswer], tag="approaches", frozen=True):
    """The comparisons; of a named one its rows and the advice too."""

    comparison: str = ""
