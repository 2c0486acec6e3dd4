"""Runs as lists, whole, as curves, steps and logs; and any question to the store."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.messages.limits import Large, Place, Whole
from finetop.core.protocol.request import Question
from finetop.core.protocol.runs import RunDetail, RunRow


class Group(msgspec.Struct, frozen=True):
    """Runs that stand together, and the number that they are compared by."""

    word: str  # empty: those that have none
    runs: int
    key: str  # the number's name: what the list is sorted by, else loss
    measured: int  # runs that have it
    mean: float | None = None
    spread: float | None = None  # the standard deviation of one run; of one alone there is none


class RunsAnswer(msgspec.Struct, frozen=True):
    rows: list[RunRow]
    matching: int
    total: int
    need_you: int
    jobs: dict[str, int]  # that run, by their verbs
    queued: int  # jobs that wait
    revision: int
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"
    groups: list[Group] = []  # of these rows
    without: list[tuple[str, int]] = []  # where nothing matches: a term, and how many match without it


class Runs(Question[RunsAnswer], tag="runs", frozen=True):
    filter: str = ""  # a line of finetop.core.client
    sort: str = "needs_you"  # newest, name, loss, -drop …; `sort:` in the filter goes before it
    offset: Whole = 0
    limit: Whole = 50
    settings: list[str] = []  # of the recipes, to come with the rows


class SweepBrief(msgspec.Struct, frozen=True):
    name: str
    runs: int
    finished: int
    to_come: int  # that run or wait


class SweptRun(msgspec.Struct, frozen=True):
    row: RunRow
    values: dict[str, str]  # of `keys` below, and of train.seed


class SweepsAnswer(msgspec.Struct, frozen=True):
    sweeps: list[SweepBrief]  # the newest first
    runs: list[SweptRun]
    keys: list[
        str
    ]  # what differs among the runs, seed aside; of selected rows: see finetop.core.client.selection_curve


class Sweeps(Question[SweepsAnswer], tag="sweeps", frozen=True):
    """The sweeps; of a named one its runs with the settings that differ among them."""

    sweep: str = ""


class GetRun(Question[RunDetail], tag="run", frozen=True):
    run: str  # name or number


Across = Literal["step", "tokens", "time", "epoch"]  # what curves are drawn over; time is seconds of training


class Curve(msgspec.Struct, frozen=True):
    key: str
    column: list[int]  # ascending; a bin without points is absent
    low: list[float]
    high: list[float]
    mean: list[float]
    last_step: int
    last_value: float | None
    bad: int  # values that were not finite


class CurvesAnswer(msgspec.Struct, frozen=True):
    curves: list[Curve]
    steps: Curve | None = None  # which steps are in each column, where x is not the step
    newest: float = 0.0  # where on such an axis the run stands


class Curves(Question[CurvesAnswer], tag="curves", frozen=True):
    """Ask for charts: per key, min and max in each of `columns` equal bins of [first, last], in steps unless `x` says.

    Without keys: the newest values of all keys in few columns, for sparklines.
    """

    run: str
    keys: list[str]
    columns: Whole
    last: Place  # the x axis's end: the planned last step
    first: Place = 0
    x: Across = "step"


class LogAnswer(msgspec.Struct, frozen=True):
    job: int
    text: str
    next: int  # the offset to go on from
    size: int
    gap: int = 0  # bytes in front of the text that are not kept: the log grew too long


class ReadLog(Question[LogAnswer], tag="log", frozen=True):
    """Read a job's log by byte offset; a negative offset counts from the end."""

    run: str
    job: Whole | None = None  # None: the newest job
    offset: Large = -4096
    limit: Whole = 65536


class FoundInLog(msgspec.Struct, frozen=True):
    at: list[int]  # where those lines begin, ascending
    begin: int  # what was looked through: from here to the end that was asked for
    size: int


class FindInLog(Question[FoundInLog], tag="find", frozen=True):
    """Find the lines of a job's log that have a text, in a part of it; or the first line of a step, in all of it."""

    run: str
    job: Whole | None = None  # None: the newest job
    text: str = ""
    step: Whole | None = None
    begin: Large = 0  # bytes; the part ends at `end`, or at the log's end where that is negative
    end: Large = -1


class ProcessRow(msgspec.Struct, frozen=True):
    pid: int
    job: int
    command: str
    state: str  # as `ps` names it: R, S, D, T
    cpu_s: float  # it and its children that have ended
    memory_gib: float | None  # None: it has ended meanwhile
    threads: int | None


class ProcessesAnswer(msgspec.Struct, frozen=True):
    processes: list[ProcessRow]  # the keeper of each job first, then what is below it


class Processes(Question[ProcessesAnswer], tag="processes", frozen=True):
    """Ask which processes a run's jobs have now."""

    run: str


class StepRow(msgspec.Struct, frozen=True):
    step: int
    at: float
    values: dict[str, float | None]


class EventsAnswer(msgspec.Struct, frozen=True):
    steps: list[StepRow]
    row: RunRow
    revision: int


class EventsSince(Question[EventsAnswer], tag="events", frozen=True):
    """Follow a run: its metrics rows and state since a revision of the store (for `tail` and `run --wait`)."""

    run: str
    after_step: Whole = -1
    limit: Whole = 1000


SQL_ROWS = 100_000  # at most in an answer
SQL_BYTES = 8 << 20  # of them as JSON


class SqlAnswer(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[Any]]
    cut: bool  # there were more rows than the limit, or than SQL_BYTES


class Sql(Question[SqlAnswer], tag="sql", frozen=True):
    query: str
    limit: Whole = 1000
    timeout_s: float = 10.0
