"""Comparisons of approaches: submit, list, show."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from finetop.core.protocol.messages.limits import PRIORITIES, Large, Priority
from finetop.core.protocol.request import Order, Question

State = Literal["measured", "under way", "failed", "left out"]
Updates = Literal["index", "train", ""]


class Score(msgspec.Struct, frozen=True):
    """A mean over rows with its 95 % interval; with several seeds, each row is first averaged over them."""

    mean: float
    low: float
    high: float
    rows: int
    seeds: int = 1
    spread: float | None = None  # standard deviation of the seeds' means; None for one seed


class Gap(msgspec.Struct, frozen=True):
    """The paired difference to the best, over the rows that both answered: 95 % interval."""

    mean: float
    low: float
    high: float
    rows: int

    @property
    def is_open(self) -> bool:
        """Whether the two can't be told apart."""
        return self.low <= 0 <= self.high


class Retained(msgspec.Struct, frozen=True):
    """What was retained of the base's abilities. Points of 100; a positive drop is worse."""

    drop: float | None
    verdicts: list[str]  # of each checked run: ok, regressed, no_verdict
    same_weights: bool = False  # no weights changed: nothing to check
    spread: float | None = None
    margin: float | None = None  # of the checks: a drop from here on is REGRESSED


class News(msgspec.Struct, frozen=True):
    """New facts that arrive later: how they are ingested, how long that takes, and the score on them."""

    how: Updates
    before: Score | None = None
    after: Score | None = None
    gain: Gap | None = None  # after - before, paired
    seconds: float | None = None  # until it could answer questions about them
    why_not: str = msgspec.field(default="", name="said")  # why there is no `after`


class Price(msgspec.Struct, frozen=True):
    """What a query costs in seconds of CPU or GPU: the same queries, one at a time, in several rounds."""

    median: float  # of the rounds, each the mean of its queries
    low: float  # the cheapest round
    high: float  # the most expensive round
    of: str  # CPU or GPU
    queries: int  # per round, the same for all approaches
    rounds: int  # of all seeds together
    others: float | None = None  # the largest share of the CPUs that other processes used, over all rounds


class RunBrief(msgspec.Struct, frozen=True):
    """One run of an approach."""

    id: int
    name: str
    state: str  # queued, running, finished, stopped, failed, lost
    seed: int
    learns_news: bool = False  # also trained on the new facts
    is_measured: bool = False
    message: str = msgspec.field(default="", name="said")  # why it failed, or what it is doing


class ApproachRow(msgspec.Struct, frozen=True, kw_only=True):
    """One approach: how well it does on the target, and what it costs."""

    name: str
    about: str
    trains: bool
    state: State
    # why it was left out or failed, or what it waits for
    message: str = msgspec.field(default="", name="said")
    runs: list[RunBrief] = []
    is_best: bool = False
    target: Score | None = None
    others: dict[str, Score] = {}  # by the target's other metrics
    gap: Gap | None = None  # to the best; None for the best itself
    other_gaps: dict[str, Gap] = {}  # by the target's other metrics: to the best one by that metric
    retained: Retained | None = None
    setup_s: float | None = None  # until it could answer: training or indexing, mean over seeds
    gpu_s: float | None = None  # of that time, times its number of GPUs; None: no GPU
    energy_wh: float | None = None  # of the GPUs, if they report power
    prompt_tokens: float | None = None  # mean per query
    query: Price | None = None
    memory_gib: float | None = None  # maximum while answering
    memory_of: str = ""  # GPU or host
    news: News | None = None
    # Distinct rows that the measured checkpoint was trained on, or examples in each prompt; None: not known yet.
    rows_seen: int | None = None
    rows_given: int | None = None  # available rows
    epochs_seen: float | None = None  # of the seed that read least
    losses: tuple[float, float] | None = None  # in training, at its start and end: mean over seeds
    loss_midway: float | None = None  # the same, of the middle third of the steps
    # Questions of the test, those among them that the training rows contain, and the scored ones of these; 0 for an
    # approach that reads no training rows.
    tested: int = 0
    leaked: int = 0
    leaked_scored: int = 0
    notes: list[str] = []  # documents it could not use, and questions without a fitting document


class Advice(msgspec.Struct, frozen=True):
    """One recommendation, derived only from the numbers of the table."""

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

    name: str  # requested; a number is added if it is taken
    approach: str
    seed: Large
    recipe: dict[str, Any]  # resolved
    digest: str = ""  # of recipe and data: a run with the same one is reused
    learns_news: bool = False


class QueuedApproach(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    approach: str
    was_there: bool  # reused from an earlier comparison


class SubmitApproachesAnswer(msgspec.Struct, frozen=True):
    comparison: str
    runs: list[QueuedApproach]
    left_out: dict[str, str]


class SubmitApproaches(Order[SubmitApproachesAnswer], tag="submit-approaches", frozen=True):
    """Queue the runs of a comparison, all or none; runs of the same recipe on the same data are reused.

    If a comparison of this name exists for the same `subject`, the runs replace its runs of these approaches.
    """

    makes_home: ClassVar[bool] = True

    name: str  # requested; a number is added if that name is used for another subject
    subject: str
    metric: str
    runs: list[ApproachRun]
    left_out: dict[str, str]  # approach -> why it is not available
    source: str
    held: bool = False
    priority: Priority = PRIORITIES["normal"]


class ApproachesAnswer(msgspec.Struct, frozen=True):
    comparisons: list[ComparisonBrief]  # newest first
    name: str = ""
    metric: str = ""
    lower_is_better: bool = False
    model: str = ""
    target: str = ""  # name of the target's file
    rows: list[ApproachRow] = []  # measured ones best first, then the others
    advice: list[Advice] = []


class Approaches(Question[ApproachesAnswer], tag="approaches", frozen=True):
    """The comparisons; for a named one also its rows and the advice."""

    comparison: str = ""
