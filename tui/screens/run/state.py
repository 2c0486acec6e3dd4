"""The data the Run screen holds of its run, and how each part is refreshed: only changes are requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from finetop.core.features.data_versions.messages import DataOf, DataOfAnswer, SourceFacts
from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.protocol.messages import runs as messages
from finetop.core.protocol.messages.checks import Checks, ChecksAnswer
from finetop.core.protocol.messages.runs import Across, Curve, Curves, CurvesAnswer
from finetop.core.protocol.runs import (
    Finished,
    JobRow,
    Queued,
    RunDetail,
    Running,
    RunRow,
)
from finetop.core.wording.sparkline import sparkline
from finetop.tui.app_interface import Host
from finetop.tui.widgets.log import EMPTY, Tail, fed, request, skipped
from finetop.tui.widgets.series import Stretch

PROCESSES_S = 5.0  # seconds between two reads of a run's processes
SPARKS_S = 10.0  # seconds between two updates of the sparklines
CURVES_S = 10.0  # seconds between two updates of curves whose growth is not visible
_NOWHERE = Stretch("step", 0, 0, 0)
_PIECES = 4  # log pieces read before a redraw


@dataclass(frozen=True, slots=True)
class Checked:
    """One check's full result, and when it ended."""

    check_id: int
    at: float
    outcome: CheckResult


@dataclass(slots=True)
class RunData:
    """Everything loaded of a run so far. Curves carry the range and bins they were requested with."""

    detail: RunDetail | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    steps: Curve | None = None  # the steps in each column, on any other axis than steps
    stretch: Stretch = _NOWHERE
    newest: dict[Across, float] = field(default_factory=dict)  # by axis: the run's newest x value
    sparks: dict[str, str] = field(default_factory=dict)
    tail: Tail = EMPTY
    checks: list[Checked] = field(default_factory=list)
    processes: list[messages.ProcessRow] = field(default_factory=list)
    data: list[SourceFacts] = field(default_factory=list)
    _processes_at: float = -1e9
    _curves_of: tuple[Sequence[str], Stretch] | None = None
    _curves_row: RunRow | None = None  # the run when the curves were loaded
    _curves_at: float = -1e9
    _sparks_of: tuple[object, ...] = ()
    _sparks_at: float = -1e9
    _log_of: int | None = None
    _log_is_whole: bool = False
    _checks_of: tuple[int, float] | None = None

    @property
    def checks_asked(self) -> bool:
        """True once the checks' results have arrived, readable or not."""
        return self._checks_of is not None

    @property
    def known(self) -> RunDetail:
        """The run, once it has been loaded."""
        assert self.detail is not None
        return self.detail

    async def load_curves(self, host: Host, keys: list[str], stretch: Stretch) -> None:
        """Load the charts' curves if there are newer values or the range has changed."""
        row, request, x = self.known.row, (tuple(keys), stretch), stretch.x
        is_current = request == self._curves_of and not self._can_be_seen(row, host.now())
        if not keys or stretch.columns < 1 or is_current:
            return
        self._curves_at = host.now()
        answer: CurvesAnswer = await host.ask(Curves(row.name, keys, **stretch._asdict()))
        self.curves = {curve.key: curve for curve in answer.curves}
        self.steps, self.newest[x] = answer.steps, answer.newest if x != "step" else row.step
        self.stretch, self._curves_of, self._curves_row = stretch, request, row

    def _can_be_seen(self, row: RunRow, now: float) -> bool:
        """Return True if the curves would look different by now.

        Reading a week's curves takes 100 ms, and a step is less than a hundredth of a column. So they wait for a
        quarter column, for CURVES_S, or for a change with a mark of its own.
        """
        old = self._curves_row
        if old is None or (old.step, old.metrics) == (row.step, row.metrics):
            return old is None
        grown = row.step - old.step
        x, first, last, columns = self.stretch
        in_view = last - first if x == "step" else max(row.steps, row.step)
        return (
            not 0 <= 4 * grown * columns < in_view
            or now - self._curves_at >= CURVES_S
            or type(old.state) is not type(row.state)
            or _marked_values(old) != _marked_values(row)
        )

    async def load_sparks(self, host: Host, keys: Sequence[str], columns: int) -> None:
        """Load the sparklines' values, at most every SPARKS_S seconds."""
        row = self.known.row
        request = (tuple(keys), row.step)
        if not keys or request == self._sparks_of:
            return
        is_young = host.now() - self._sparks_at < SPARKS_S
        if self._sparks_of[:1] == request[:1] and is_young and isinstance(row.state, Running):
            return
        self._sparks_of, self._sparks_at = request, host.now()
        curves = Curves(row.name, list(keys), columns=columns, last=max(row.step, 1))
        answer: CurvesAnswer = await host.ask(curves)
        self.sparks = {curve.key: sparkline(curve.mean, columns) for curve in answer.curves}

    async def load_log(self, host: Host, job: JobRow | None) -> None:
        """Read a job's log to its end; the log of an ended job is read once."""
        if job is None:
            return
        if self._log_of != job.id:
            self.tail, self._log_of, self._log_is_whole = EMPTY, job.id, False
        if self._log_is_whole:
            return
        for _ in range(_PIECES):
            answer: messages.LogAnswer = await host.ask(request(self.tail, self.known.row.name, job.id))
            if self._log_of != job.id:
                return  # another job's log was selected meanwhile
            before = self.tail.offset
            self.tail = skipped(fed(self.tail, answer), answer)
            if self.tail.offset is not None and (answer.next >= answer.size or answer.next == before):
                self._log_is_whole = not isinstance(job.state, Running | Queued)
                return

    async def load_checks(self, host: Host) -> None:
        """Load the full results of the checks if there is a newer one."""
        # A second attempt of a job replaces the first one's results: same number, another time.
        newest = max(((check.check_id, check.at) for check in self.known.checks), default=None)
        if newest is None or newest == self._checks_of:
            return
        answer: ChecksAnswer = await host.ask(Checks(self.known.row.name))
        self.checks = [checked for plain in answer.checks if (checked := _checked(plain)) is not None]
        self._checks_of = newest

    async def load_processes(self, host: Host) -> None:
        """Load a run's processes, at most every PROCESSES_S seconds; an ended run has none."""
        row = self.known.row
        if not isinstance(row.state, Running) and not isinstance(row.checking, Running):
            self.processes = []
        elif host.now() - self._processes_at >= PROCESSES_S:
            self._processes_at = host.now()
            answer: messages.ProcessesAnswer = await host.ask(messages.Processes(row.name))
            self.processes = answer.processes

    async def load_data(self, host: Host) -> None:
        """Load which versions of its data a run has read."""
        if self.known.sources and [facts.row for facts in self.data] != self.known.sources:
            answer: DataOfAnswer = await host.ask(DataOf(self.known.row.name))
            self.data = answer.sources


def log_job(detail: RunDetail, chosen: int | None = None) -> JobRow | None:
    """Return the job whose log is shown: the selected one, else training, or a check that runs after it.

    A command's log is shown rather than that of the import of what it made, unless that has failed.
    """
    if chosen is not None:
        return next((job for job in detail.jobs if job.id == chosen), None)
    started = [job for job in detail.jobs if not isinstance(job.state, Queued)]
    training = [job for job in started if job.kind.makes_a_run]
    is_checked_now = isinstance(detail.row.checking, Running) and not isinstance(detail.row.state, Running)
    if training and not is_checked_now:
        commands = [job for job in training if job.kind.of_others]
        return commands[-1] if commands and isinstance(training[-1].state, Finished) else training[-1]
    return started[-1] if started else None


def _marked_values(row: RunRow) -> tuple[object, ...]:
    """Return what has a mark of its own in a chart: evaluations, and values that are not finite."""
    return row.metrics.get("eval_loss"), {key for key, value in row.metrics.items() if value is None}


def _checked(plain: dict[str, Any]) -> Checked | None:
    """Return a typed result, or None if its format is another version's."""
    try:
        return Checked(int(plain["check_id"]), float(plain["at"]), read(plain))
    except (msgspec.ValidationError, KeyError, TypeError, ValueError):
        return None
