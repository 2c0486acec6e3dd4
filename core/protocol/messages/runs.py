"""Runs as lists, details, curves, steps and logs; and SQL queries."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.messages.limits import Large, Place, Whole
from finetop.core.protocol.request import Question
from finetop.core.protocol.runs import RunDetail, RunRow


class Group(msgspec.Struct, frozen=True):
    """Runs of one group, and statistics of the number that groups are compared by."""

    word: str  # empty: runs without a group
    runs: int
    key: str  # name of the number: the sort key, else loss
    measured: int  # runs that have the number
    mean: float | None = None
    spread: float | None = None  # standard deviation of single runs; None for one run


class RunsAnswer(msgspec.Struct, frozen=True):
    rows: list[RunRow]
    matching: int
    total: int
    need_you: int
    jobs: dict[str, int]  # running jobs, by verb
    queued: int  # waiting jobs
    revision: int
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"
    groups: list[Group] = []  # on this page
    without: list[tuple[str, int]] = []  # if nothing matches: each term, and how many runs match without it


class Runs(Question[RunsAnswer], tag="runs", frozen=True):
    filter: str = ""  # a filter line, see protocol/run_filter.py
    sort: str = "needs_you"  # newest, name, loss, -drop …; `sort:` in the filter overrides it
    offset: Whole = 0
    limit: Whole = 50
    settings: list[str] = []  # of the recipes, to include in the rows


class SweepBrief(msgspec.Struct, frozen=True):
    name: str
    runs: int
    finished: int
    to_come: int  # running or waiting


class SweptRun(msgspec.Struct, frozen=True):
    row: RunRow
    values: dict[str, str]  # of `keys` below, and of train.seed


class SweepsAnswer(msgspec.Struct, frozen=True):
    sweeps: list[SweepBrief]  # newest first
    runs: list[SweptRun]
    keys: list[
        str
    ]  # what differs among the runs, seed aside; of selected rows: see features/sweeps/selection_curve.py


class Sweeps(Question[SweepsAnswer], tag="sweeps", frozen=True):
    """The sweeps; for a named one also its runs, with the settings that differ among them."""

    sweep: str = ""


class GetRun(Question[RunDetail], tag="run", frozen=True):
    run: str  # name or number


Across = Literal["step", "tokens", "time", "epoch"]  # the x axis of curves; time is seconds of training


class Curve(msgspec.Struct, frozen=True):
    key: str
    column: list[int]  # ascending; a bin without points is absent
    low: list[float]
    high: list[float]
    mean: list[float]
    last_step: int
    last_value: float | None
    bad: int  # values that were not finite
    count: list[int] = []  # values in each bin; empty if unknown
    step: list[int] = []  # step of the newest value in each bin; empty if unknown


class CurvesAnswer(msgspec.Struct, frozen=True):
    curves: list[Curve]
    steps: Curve | None = None  # the steps in each column, if x is not the step
    newest: float = 0.0  # the run's position on that axis


class Curves(Question[CurvesAnswer], tag="curves", frozen=True):
    """Request charts: per key, min and max in each of `columns` equal bins of [first, last] on the axis `x`."""

    run: str
    keys: list[str]  # empty: the newest values of all keys in few columns, for sparklines
    columns: Whole
    last: Place  # end of the x axis: the planned last step
    first: Place = 0
    x: Across = "step"


class LogAnswer(msgspec.Struct, frozen=True):
    job: int
    text: str
    next: int  # offset to continue from
    size: int
    gap: int = 0  # bytes before the text that were dropped because the log grew too long


class ReadLog(Question[LogAnswer], tag="log", frozen=True):
    """Read a job's log by byte offset; a negative offset counts from the end."""

    run: str
    job: Whole | None = None  # None: the newest job
    offset: Large = -4096
    limit: Whole = 65536


class FoundInLog(msgspec.Struct, frozen=True):
    at: list[int]  # where those lines start, ascending
    begin: int  # start of the part that was searched; it ends at the requested end
    size: int


class FindInLog(Question[FoundInLog], tag="find", frozen=True):
    """Find the lines in a part of a job's log that contain a text; or the first line of a step, in all of it."""

    run: str
    job: Whole | None = None  # None: the newest job
    text: str = ""
    step: Whole | None = None
    begin: Large = 0  # bytes; the part ends at `end`, or at the log's end if that is negative
    end: Large = -1


class ProcessRow(msgspec.Struct, frozen=True):
    pid: int
    job: int
    command: str
    state: str  # as `ps` names it: R, S, D, T
    cpu_s: float  # including children that have ended
    memory_gib: float | None  # None: it has ended meanwhile
    threads: int | None


class ProcessesAnswer(msgspec.Struct, frozen=True):
    processes: list[ProcessRow]  # each job's keeper first, then what is below it


class Processes(Question[ProcessesAnswer], tag="processes", frozen=True):
    """Request the processes of a run's jobs."""

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
    """Follow a run: its metric rows after a step, and its state (for `tail` and `run --wait`)."""

    run: str
    after_step: Whole = -1
    limit: Whole = 1000


SQL_ROWS = 100_000  # limit of an answer
SQL_BYTES = 8 << 20  # limit of the rows as JSON


class SqlAnswer(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[Any]]
    cut: bool  # there were more rows than the limit, or than SQL_BYTES


class Sql(Question[SqlAnswer], tag="sql", frozen=True):
    query: str
    limit: Whole = 1000
    timeout_s: float = 10.0
