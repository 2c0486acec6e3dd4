"""The lines that jobs append to events.jsonl and the supervisor reads: types, a writer, a decoder.

One JSON object per line: {"n": sequence, "t": seconds since 1970, "e": {"type": …}}. Sequence numbers start at 1 in
each job folder and continue through its attempts; they define the order, never the clock.

A line with numbers or texts that the store can't hold is invalid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.protocol import check_result as results
from finetop.core.protocol.data_diff import Origin
from finetop.core.protocol.exports import ExportedFile
from finetop.core.protocol.numbers_from import NumbersFrom

FORMAT = 1
LARGEST = 1e290  # of a value: the mean of a thousand million of them is still finite
DEEPEST = 16  # levels of a check's result; ours have six

Number = Annotated[int, Meta(ge=1, le=2**53)]
Moment = Annotated[float, Meta(ge=0, le=1e11)]  # until the year 5138
Step = Annotated[int, Meta(ge=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Many = Annotated[int, Meta(ge=0, le=2**53)]  # bytes, tokens, parameters
Value = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Meta(ge=-1, le=1)]
Text = Annotated[str, Meta(max_length=10_000)]
System = Annotated[str, Meta(max_length=20_000)]  # as long as a recipe's may be
Key = Annotated[str, Meta(min_length=1, max_length=200)]
CheckpointPath = Annotated[str, Meta(pattern=r"\Acheckpoints/step-[0-9]{1,12}\Z")]


class Started(msgspec.Struct, tag="started", frozen=True):
    """The job's process has started."""

    format: Count
    attempt: Count
    pid: Many
    device: Text  # "cpu", "cuda:0 NVIDIA H100", "mps"
    dtype: Text
    versions: Annotated[dict[Key, Text], Meta(max_length=200)]


class Phase(msgspec.Struct, tag="phase", frozen=True):
    """The job's current phase, with its progress if it can be counted."""

    name: Text  # "loading model", "training", "scoring base" …
    done: Value | None = None
    total: Value | None = None
    unit: Text = ""
    left_s: Value | None = None  # of training and of a check: until the whole is done; of others: the phase
    spent_s: Value | None = None  # in training: how long the run has been trained, by all its jobs
    per_s: Value | None = None  # units a second
    releases_gpu: bool = False  # from here on it computes on the CPU alone: others may have its GPU


class Planned(msgspec.Struct, tag="planned", frozen=True):
    steps: Step
    epochs: Value
    rows: Many
    eval_rows: Many
    tokens_per_epoch: Many
    trainable_parameters: Many
    parameters: Many
    dtype: Text = ""  # used for training; empty: a finetop that chose it by the CPU's instructions


class DataRead(msgspec.Struct, tag="data", frozen=True):
    """What became of one data source: nothing is dropped or cut silently."""

    source: Text
    rows: Count
    kept: Count
    dropped: Count
    truncated: Count
    longest_tokens: Count
    answer_tokens: Many
    fingerprint: Text  # sha256 of the rendered rows
    used: Count | None = None  # its examples per epoch, if its share of the mix decides


class SourceRead(msgspec.Struct, tag="source_read", frozen=True, kw_only=True):
    """A data source's content when the job read it; the run's folder holds a hash of each row (data/versions)."""

    source: Text  # as in DataRead
    path: Text  # of the file, or the data set's id
    part: Text = ""  # subset and split of a data set
    use: Literal["train", "replay", "eval", "test"]
    rows: Count
    content: Text  # sha256 of the rows in order
    limit: Count | None = None  # most rows to read, if requested
    share: Share | None = None  # of all training rows
    size: Many = 0  # bytes of the file
    written: Moment | None = None  # the file's modification time
    placed: Moment | None = None  # when it was moved there, or its name or rights were changed
    revision: Text = ""  # of a data set on the hub
    fingerprint: Text = ""  # of a data set, from `datasets`
    sha256: Text = ""  # of the file
    origin: Origin | None = None  # what the file was made of, from the manifest beside it
    system: System = ""  # the system prompt of more than half of its rows


class FirstRow(msgspec.Struct, tag="first_row", frozen=True):
    """The first row as the model sees it: pieces of text, each with whether it is learned."""

    pieces: list[tuple[str, bool]]


class Metrics(msgspec.Struct, tag="metrics", frozen=True):
    """Values at an optimizer step. A value that is not finite is null here and named in `bad`."""

    step: Step
    values: Annotated[dict[Key, Value | None], Meta(max_length=2000)]
    bad: dict[Key, Literal["nan", "inf", "-inf"]] = {}  # key -> "nan", "inf", "-inf"


class Sample(msgspec.Struct, tag="sample", frozen=True):
    step: Step
    index: Count
    prompt: str
    text: str


class Checkpoint(msgspec.Struct, tag="checkpoint", frozen=True):
    """A complete checkpoint: written aside, synced and renamed before this line."""

    step: Step
    path: CheckpointPath  # relative to the run folder
    size_bytes: Many
    kind: Text  # "adapter", "full" or "gguf"


class Resumed(msgspec.Struct, tag="resumed", frozen=True):
    """The run resumes from this step's checkpoint: what was reported of later steps is discarded."""

    step: Step  # 0: it starts over


class TakenBack(msgspec.Struct, tag="taken_back", frozen=True):
    """What was reported from a step on is discarded: some of it was another program's. The rest is reported again."""

    step: Step
    file: Text
    why: Text


NO_NUMBERS = "no_numbers"  # kind of the alarm that nothing of a program's output is recognised
SKIPPED_OUTPUT = "skipped_output"  # kind of the alarm that a part of a program's output was not read
NOTHING_READ = (
    "nothing recognised in what it prints: name its file (--metrics csv:FILE), or how its lines look "
    "(command.pattern, --metrics pattern:REGEX)"
)
NOT_READABLE = (  # of a watched program
    "no file with numbers found, and its output goes to a terminal or a pipe: name its file (--metrics csv:FILE)"
)


class Alarm(msgspec.Struct, tag="alarm", frozen=True):
    """A notable event; with `over`, the alarm of this kind has ended."""

    kind: Text  # a file of core/train/alarms, or "regressed", "check", "suite", "compiler", NO_NUMBERS, SKIPPED_OUTPUT
    step: Step
    text: Text
    over: bool = False


class ItemScore(msgspec.Struct, frozen=True):
    """One benchmark item under one model. `score` in [0, 1]; log-probabilities in nats."""

    item: Text
    score: Value
    answer: str = ""  # the model's choice or text
    answer_log_prob: Value | None = None
    gold_log_prob: Value | None = None
    best_other_log_prob: Value | None = None


class Scores(msgspec.Struct, tag="scores", frozen=True):
    """Item scores of one model on one task, as they come; `key` is the cache's full key."""

    model: Literal["base", "tuned"]
    key: Text
    task: Text
    items: list[ItemScore]
    step: Step | None = None  # of one of several checks of a job; None for a base that all share


class Verdict(msgspec.Struct, tag="verdict", frozen=True):
    """The outcome of a check: the full result as plain data (see core/protocol/check_result.py)."""

    step: Step | None
    result: dict[str, Any]


class Best(msgspec.Struct, tag="best", frozen=True):
    """The run's best checkpoint; `text` says why, `values` are its measurements."""

    step: Step
    text: Text
    values: Annotated[dict[Key, Value], Meta(max_length=20)] = {}


class RemedyTried(msgspec.Struct, tag="remedy_tried", frozen=True, kw_only=True):
    """How one candidate of a remedy did on the selection items and at the target (see core/features/remedies).

    `step` is the checkpoint to be remedied, `made_of` the one that this candidate is made of; the candidate "now" is
    that checkpoint itself. Drops are shares in [-1, 1].
    """

    step: Step
    name: Key
    remedy: Key
    label: Text
    made_of: Step
    settings: Annotated[dict[Key, Step | Value | Text], Meta(max_length=20)] = {}
    verdict: Literal["ok", "regressed", "no_verdict", "failed", "unchanged"]
    reason: Text
    target: Annotated[dict[Key, Value], Meta(max_length=20)] = {}
    kept: Annotated[
        dict[Key, Value], Meta(max_length=20)
    ] = {}  # share of the gain, by each metric that gained
    gain: Value | None = None  # the least of them
    drop: Share | None = None
    interval: tuple[Share, Share] | None = None  # of the drop of ability
    decided: tuple[Share, Share] | None = None  # the interval that the verdict is based on
    items_used: Count = 0
    items_total: Count = 0
    tasks: Annotated[
        list[tuple[Key, Share, Key]], Meta(max_length=1000)
    ] = []  # task, drop, mark; worst first
    note: Text = ""
    weights: Text = ""  # sha256
    models: Annotated[
        dict[Key, Text], Meta(max_length=2)
    ] = {}  # sha256 of "base" and "tuned", as they were read
    seconds: Value = 0.0


class RemedyConfirmed(msgspec.Struct, tag="remedy_confirmed", frozen=True, kw_only=True):
    """How a candidate did on the confirmation items, which chose nothing; no_items: there were too few."""

    step: Step
    name: Key
    verdict: Literal["ok", "regressed", "no_verdict", "no_items"]
    reason: Text
    drop: Share | None = None
    interval: tuple[Share, Share] | None = None  # of the drop of ability
    decided: tuple[Share, Share] | None = None  # the interval that the verdict is based on
    items_used: Count = 0
    items_total: Count = 0
    alpha: Share


class RowScore(msgspec.Struct, frozen=True, array_like=True):
    """One row of a target: its contribution to a metric's sum, its weight, and the answer."""

    row: Key
    value: Value
    weight: Value
    answer: Text = ""


class QueryPrice(msgspec.Struct, frozen=True, array_like=True):
    """CPU or GPU seconds per answer to one row of a target, each generated alone."""

    row: Key
    spent_s: Annotated[list[Value], Meta(min_length=1, max_length=100)]


RowScores = Annotated[dict[Key, Annotated[list[RowScore], Meta(max_length=10_000)]], Meta(max_length=20)]


class ApproachMeasured(msgspec.Struct, tag="approach_measured", frozen=True, kw_only=True):
    """How a run's model does on the target with its approach, and what an answer costs."""

    approach: Key
    step: Step | None = None  # of the checkpoint; None if no weights changed
    scores: RowScores  # by metric
    prompt_tokens: Value  # mean over the rows
    # one at a time, in rounds, retrieval included
    queries: Annotated[list[QueryPrice], Meta(max_length=100)] = []
    price_of: Text = ""  # what is measured: seconds of CPU (of this process, on one thread) or GPU
    others: Value | None = None  # the share of the machine's CPUs used by other processes meanwhile
    memory_gib: Value | None = None
    memory_of: Text = ""
    index_s: Value = 0.0  # to prepare documents and examples
    passages: Count = 0
    news: RowScores = {}  # on the questions about new facts, without them
    news_after: RowScores = {}  # with the new facts available to retrieval
    news_s: Value | None = None  # to ingest them
    tested: Count = 0  # rows of the target's test that were searched for in the training rows
    leaked: Annotated[
        list[Text], Meta(max_length=1000)
    ] = []  # those found there, by their numbers as in `scores`
    # what could not be measured or used
    notes: Annotated[list[Text], Meta(max_length=50)] = msgspec.field(default_factory=list, name="said")


class ExportJudged(msgspec.Struct, tag="export_judged", frozen=True):
    """An exported file, with its verdict against the tuned model."""

    file: ExportedFile


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """The job's own final event. Without it the process was killed."""

    status: Text  # "finished", "stopped", "failed"
    cause: Text = ""
    hint: Text = ""
    exit_code: Count = 0
    kind: Text = ""  # of a failure: see Kind in core/errors.py; of a stop: "asked" if a signal requested it


Event = (
    Started
    | Phase
    | Planned
    | DataRead
    | SourceRead
    | FirstRow
    | Metrics
    | Sample
    | Checkpoint
    | Resumed
    | TakenBack
    | NumbersFrom
    | Alarm
    | Scores
    | Verdict
    | Best
    | RemedyTried
    | RemedyConfirmed
    | ApproachMeasured
    | ExportJudged
    | Ended
)


class Line(msgspec.Struct, frozen=True):
    n: Number
    t: Moment
    e: Event


_decoder = msgspec.json.Decoder(Line)


def decode(line: bytes) -> Line:
    """Decode one line. Raises Unreadable for any defect."""
    try:
        decoded = _decoder.decode(line)
        if isinstance(decoded.e, Verdict):
            _require_result(decoded.e.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    return decoded


class Unreadable(msgspec.DecodeError):
    """A line that is not a valid event: cut, of another shape, or beyond what can be stored."""


def _require_result(result: Any) -> None:
    """Raise msgspec.ValidationError if a check's result can't be read, stored or sent."""
    results.read(result)
    level = [result]
    for _ in range(DEEPEST):
        for value in level:
            if isinstance(value, int | float) and not _is_storable(value):
                raise msgspec.ValidationError("a result holds a number that is too large")
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [value for values in inner for value in values]
    if level:
        raise msgspec.ValidationError(f"a result is nested deeper than {DEEPEST} levels")


def _is_storable(value: float) -> bool:
    """Return True if a number stays finite in points of 100, or is a count that JSON can hold."""
    return abs(value) <= 2**53 if isinstance(value, int) else math.isfinite(100 * value)


def metrics(step: int, values: Mapping[str, float]) -> Metrics:
    """Build a Metrics event; values that are not finite, or too large, are moved to `bad`."""
    bad = {key: _named(value) for key, value in values.items() if not abs(value) <= LARGEST}
    if not bad:
        return Metrics(step, dict(values))
    return Metrics(step, {k: None if k in bad else v for k, v in values.items()}, bad)


def _named(value: float) -> Literal["nan", "inf", "-inf"]:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
