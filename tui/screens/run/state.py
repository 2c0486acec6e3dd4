"""What the Run screen holds of its run, and how each part is brought up to date: only what changed is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.protocol.messages.checks import Checks, ChecksAnswer
from finetop.core.protocol.messages.data_versions import DataOf, DataOfAnswer, SourceFacts
from finetop.core.protocol.messages.runs import (
    Across,
    Curve,
    Curves,
    CurvesAnswer,
    LogAnswer,
    Processes,
    ProcessesAnswer,
    ProcessRow,
)
from finetop.core.protocol.runs import MAKES_A_RUN, JobRow, Queued, RunDetail, Running, RunRow
from finetop.core.wording.sparkline import sparkline
from finetop.tui.app_interface import Host
from finetop.tui.widgets.log import EMPTY, Tail, fed, request, skipped

PROCESSES_S = 5.0  # between two looks at a run's processes
SPARKS_S = 10.0  # sparklines change at most so often
CURVES_S = 10.0  # and curves that grow by less than can be seen
_PIECES = 4  # of a log that are read before a picture is drawn


@dataclass(frozen=True, slots=True)
class Checked:
    """One check's whole result, and when it ended."""

    check_id: int
    at: float
    outcome: CheckResult


@dataclass(slots=True)
class RunData:
    """All that is known of a run so far. Curves carry the stretch and the bins they were asked for."""

    detail: RunDetail | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    steps: Curve | None = None  # which are in each column, on an axis of something else
    x: Across | None = None
    first: float = 0
    last: float = 0
    columns: int = 0
    newest: dict[Across, float] = field(default_factory=dict)  # where on such axes the run stands
    sparks: dict[str, str] = field(default_factory=dict)
    tail: Tail = EMPTY
    checks: list[Checked] = field(default_factory=list)
    processes: list[ProcessRow] = field(default_factory=list)
    data: list[SourceFacts] = field(default_factory=list)
    _processes_at: float = -1e9
    _curves_of: tuple[object, ...] = ()
    _curves_row: RunRow | None = None  # as it stood then
    _curves_at: float = -1e9
    _sparks_of: tuple[object, ...] = ()
    _sparks_at: float = -1e9
    _log_of: int | None = None
    _log_is_whole: bool = False
    _checks_of: tuple[int, float] | None = None

    @property
    def checks_asked(self) -> bool:
        """Say whether the checks' results came, whether or not they could be read."""
        return self._checks_of is not None


async def load_curves(
    host: Host, held: RunData, keys: list[str], x: Across, first: float, last: float, columns: int
) -> None:
    """Ask for the charts' curves, if there are newer values or another stretch is wanted."""
    assert held.detail is not None
    row = held.detail.row
    request = (tuple(keys), x, first, last, columns)
    if not keys or columns < 1:
        return
    if request == held._curves_of and not _can_be_seen(held, row, host.now()):
        return
    held._curves_at = host.now()
    answer: CurvesAnswer = await host.ask(
        Curves(row.name, keys, columns=columns, last=last, first=first, x=x)
    )
    held.curves = {curve.key: curve for curve in answer.curves}
    held.steps, held.newest[x] = answer.steps, answer.newest if x != "step" else row.step
    held.x, held.first, held.last, held.columns = x, first, last, columns
    held._curves_of, held._curves_row = request, row


def _can_be_seen(held: RunData, row: RunRow, now: float) -> bool:
    """Say whether the curves would look different by now.

    Those of a week are read in 100 ms, and a step is less than a hundredth of a column: they wait for a quarter of
    one, for CURVES_S, or for what shows by itself.
    """
    old = held._curves_row
    if old is None or (old.step, old.metrics) == (row.step, row.metrics):
        return old is None
    grown = row.step - old.step
    in_view = held.last - held.first if held.x == "step" else max(row.steps, row.step)
    return (
        not 0 <= 4 * grown * held.columns < in_view
        or now - held._curves_at >= CURVES_S
        or type(old.state) is not type(row.state)
        or _shows_by_itself(old) != _shows_by_itself(row)
    )


def _shows_by_itself(row: RunRow) -> tuple[object, ...]:
    """Return what is a mark of its own in a chart: an evaluation, and values that are not finite."""
    return row.metrics.get("eval_loss"), {key for key, value in row.metrics.items() if value is None}


async def load_sparks(host: Host, held: RunData, keys: Sequence[str], columns: int) -> None:
    """Ask for the sparklines' values, at most every SPARKS_S seconds."""
    assert held.detail is not None
    row = held.detail.row
    request = (tuple(keys), row.step)
    if not keys or request == held._sparks_of:
        return
    if (
        held._sparks_of[:1] == request[:1]
        and host.now() - held._sparks_at < SPARKS_S
        and isinstance(row.state, Running)
    ):
        return
    held._sparks_of, held._sparks_at = request, host.now()
    answer: CurvesAnswer = await host.ask(
        Curves(row.name, list(keys), columns=columns, last=max(row.step, 1))
    )
    held.sparks = {curve.key: sparkline(curve.mean, columns) for curve in answer.curves}


def log_job(detail: RunDetail, chosen: int | None = None) -> JobRow | None:
    """Choose whose log is shown: the chosen job's, else that of training, or of a check that goes on after it."""
    if chosen is not None:
        return next((job for job in detail.jobs if job.id == chosen), None)
    begun = [job for job in detail.jobs if not isinstance(job.state, Queued)]
    training = [job for job in begun if job.verb in MAKES_A_RUN]
    is_checked_now = isinstance(detail.row.checking, Running) and not isinstance(detail.row.state, Running)
    if training and not is_checked_now:
        return training[-1]
    return begun[-1] if begun else None


async def load_log(host: Host, held: RunData, job: JobRow | None) -> None:
    """Read on in a job's log to its end; that of an ended job is read once."""
    assert held.detail is not None
    if job is None:
        return
    if held._log_of != job.id:
        held.tail, held._log_of, held._log_is_whole = EMPTY, job.id, False
    if held._log_is_whole:
        return
    for _ in range(_PIECES):
        answer: LogAnswer = await host.ask(request(held.tail, held.detail.row.name, job.id))
        if held._log_of != job.id:
            return  # another job's log was asked for meanwhile
        before = held.tail.offset
        held.tail = skipped(fed(held.tail, answer), answer)
        if held.tail.offset is not None and (answer.next >= answer.size or answer.next == before):
            held._log_is_whole = not isinstance(job.state, Running | Queued)
            return


async def load_checks(host: Host, held: RunData) -> None:
    """Ask for the whole results of the checks, if there is a newer one."""
    assert held.detail is not None
    # A second attempt of a job replaces the results of its first: same number, another time.
    newest = max(((check.check_id, check.at) for check in held.detail.checks), default=None)
    if newest is None or newest == held._checks_of:
        return
    answer: ChecksAnswer = await host.ask(Checks(held.detail.row.name))
    held.checks = [checked for plain in answer.checks if (checked := _checked(plain)) is not None]
    held._checks_of = newest


def _checked(plain: dict[str, Any]) -> Checked | None:
    """Return a result its types; one of another format is left out."""
    try:
        return Checked(int(plain["check_id"]), float(plain["at"]), read(plain))
    except (msgspec.ValidationError, KeyError, TypeError, ValueError):
        return None


async def load_processes(host: Host, held: RunData) -> None:
    """Ask which processes a run has, now and then; one that has ended has none."""
    assert held.detail is not None
    row = held.detail.row
    if not isinstance(row.state, Running) and not isinstance(row.checking, Running):
        held.processes = []
    elif host.now() - held._processes_at >= PROCESSES_S:
        held._processes_at = host.now()
        answer: ProcessesAnswer = await host.ask(Processes(row.name))
        held.processes = answer.processes


async def load_data(host: Host, held: RunData) -> None:
    """Ask which versions of its data a run read, once it has read any."""
    assert held.detail is not None
    if held.detail.sources and [facts.row for facts in held.data] != held.detail.sources:
        answer: DataOfAnswer = await host.ask(DataOf(held.detail.row.name))
        held.data = answer.sources
