"""The system tab of the Run screen: what the machine does for the run over time, on what it runs, its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.runs import word
from finetop.core.text import clean_line
from finetop.tui.line import Line, rule
from finetop.tui.screens.run.charts import chart_rows
from finetop.tui.screens.run.metric_names import SYSTEM, title_of
from finetop.tui.text import count, cut_end, long_span
from finetop.tui.widgets.wrap import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.runs import ProcessRow
    from finetop.core.protocol.runs import RunDetail
    from finetop.tui.screens.run.charts import Board, Layout

_LABEL = 10  # cells
_STATES = {"R": "runs", "S": "waits", "D": "waits for a device", "T": "is stopped", "Z": "has ended"}


def system_lines(board: Board, layout: Layout, processes: Sequence[ProcessRow], width: int) -> list[Line]:
    """Write the whole tab: charts, what is not measured, the facts, the processes."""
    lines: list[Line] = []
    charts = list(board.charts)
    for at in range(0, len(charts), layout.chart_columns):
        lines += chart_rows(board, charts[at : at + layout.chart_columns], layout, width)
    missing = [title_of(key) for key in _expected(board.detail) if key not in board.detail.row.metrics]
    if missing:
        lines += _fact("not told", f"{', '.join(missing)}{_why(board.detail)}", width)
    lines += processes_lines(processes, width)
    lines.append(rule((("machine", ""),), width))
    for label, text in _facts(board.detail).items():
        lines += _fact(label, text, width)
    return lines


def _expected(detail: RunDetail) -> Sequence[str]:
    """Name what is measured of a run where it can be; on the CPU its memory is the host's."""
    return [key for key in SYSTEM if key != "host_gib" or not detail.device.startswith("cpu")]


def _why(detail: RunDetail) -> str:
    device = detail.device
    if not detail.row.step:
        return ": nothing is measured before its first step"
    return ": it runs on the CPU" if device.startswith("cpu") else "" if device else ": it was made elsewhere"


def processes_lines(processes: Sequence[ProcessRow], width: int) -> list[Line]:
    """List a run's processes, the keeper of each job first."""
    if not processes:
        return []
    lines: list[Line] = [rule((("processes", ""),), width)]
    lines.append(((f" {'pid':>8}  {'memory':>9} {'cpu time':>11} {'threads':>7}  ", "dim"), ("what", "dim")))
    for one in processes:
        memory = "-" if one.memory_gib is None else f"{one.memory_gib:.2f} GiB"
        threads = "-" if one.threads is None else count(one.threads)
        state = _STATES.get(one.state, one.state)
        facts = f" {one.pid:>8}  {memory:>9} {long_span(one.cpu_s):>11} {threads:>7}  "
        room = max(8, width - len(facts) - len(state) - 4)
        lines.append(((facts, ""), (cut_end(clean_line(one.command), room), ""), (f"  {state}", "dim")))
    return lines


def _facts(detail: RunDetail) -> dict[str, str]:
    facts = {"device": detail.device, "folder": detail.folder}
    if detail.versions:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in detail.versions.items())
    facts["jobs"] = ", ".join(
        f"{job.id} {job.verb} {word(job.state)}" + (f" (attempt {job.attempt})" if job.attempt > 1 else "")
        for job in detail.jobs
    )
    unread = [f"job {job.id}: {clean_line(job.unread)}" for job in detail.jobs if job.unread]
    if unread:
        facts["unread"] = " ".join(unread)
    return facts


def _fact(label: str, text: str, width: int) -> list[Line]:
    rows = wrapped(text, width - _LABEL - 1, 4) if text else []
    return [((f" {label if not at else '':<{_LABEL - 1}}", "dim"), (row, "")) for at, row in enumerate(rows)]
