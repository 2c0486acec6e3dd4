"""GPUs in words and blocks: the jobs on one, and how busy it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from finetop.core.protocol.messages.machine import GpuProcess, GpuRow, GpusAnswer, NodeRow
from finetop.core.text import clean_line, counted
from finetop.core.wording.columns import NOT_KNOWN, Column
from finetop.core.wording.sparkline import BLOCKS
from finetop.core.wording.units import gib

FAULTS = {"lost": "LOST", "failing": "FAILS"}
HISTORY = 15  # cells


def table(answer: GpusAnswer) -> list[Column[GpuRow]]:
    """Return the table of a machine's GPUs."""
    return [
        Column("GPU", lambda gpu: str(gpu.index)),
        Column("name", lambda gpu: gpu.name.removeprefix("NVIDIA ") or "?", is_right=False, is_prose=True),
        _read("GiB", lambda gpu: f"{gpu.total_gib:.0f}"),
        _read("ours", lambda gpu: f"{gpu.ours_gib:.1f}"),
        _read("others", lambda gpu: f"{gpu.others_gib:.1f}"),
        _read("free", lambda gpu: f"{max(0.0, gpu.total_gib - gpu.ours_gib - gpu.others_gib):.1f}"),
        *(BUSY, CELSIUS, history(answer)),
    ]


def history(answer: GpusAnswer) -> Column[GpuRow]:
    """Return the column of how busy a GPU was."""
    minutes = HISTORY * 2 * answer.column_s / 60
    return Column(f"last {minutes:.0f} min", lambda gpu: bars(gpu.history, HISTORY), is_right=False)


def is_unread(gpu: GpuRow) -> bool:
    """Return True if a GPU's numbers can't be read."""
    return gpu.fault in ("lost", "unreadable")


def _read(title: str, text: Callable[[GpuRow], str | None]) -> Column[GpuRow]:
    return Column(title, lambda gpu: NOT_KNOWN if is_unread(gpu) else text(gpu) or NOT_KNOWN)


BUSY = _read("busy", lambda gpu: None if gpu.busy is None else f"{gpu.busy} %")
CELSIUS = _read("°C", lambda gpu: None if gpu.celsius is None else str(gpu.celsius))


def machine_words(answer: GpusAnswer) -> str:
    """Return what a machine without GPUs has: '2 CPU cores, 1 job at a time'."""
    return f"{counted(answer.cores, 'CPU core')}, {counted(answer.cpu_jobs, 'job')} at a time"


def lines_of(gpu: GpuRow) -> Iterator[str]:
    """Yield lines on a GPU: its fault, its jobs, other processes."""
    if gpu.fault:
        yield f"✗ {fault_words(gpu)}"
    for job in gpu.jobs:
        size = "all of it" if job.gib is None else f"{gib(job.gib)} GiB"
        used = "" if job.used_gib is None else f", {gib(job.used_gib)} used"
        if job.gib is not None and job.used_gib is not None and job.used_gib > job.gib:
            used += f": {gib(job.used_gib - job.gib)} more than planned"
        yield f"{clean_line(job.run)} ({job.verb}) has {size}{used}"
    for process in gpu.others:
        size = "" if process.gib is None else f", {gib(process.gib)} GiB"
        yield f"{foreign_process(process)}{size}"
    if gpu.kept_for:
        yield f"reserved for {clean_line(gpu.kept_for)}"
    if gpu.left_out:
        yield gpu.left_out


def fault_words(gpu: GpuRow) -> str:
    """Return what is wrong with a GPU."""
    return f"{FAULTS.get(gpu.fault, 'not used')}: {clean_line(gpu.trouble)}"


def foreign_process(process: GpuProcess) -> str:
    """Return the name of a process that is not finetop's: 'ana: python 48213'."""
    return f"{clean_line(process.user) or 'somebody'}: {clean_line(process.name) or 'process'} {process.pid}"


def bars(history: Sequence[int | None], cells: int) -> str:
    """Draw how busy a GPU was, newest to the right, two values per cell."""
    pairs = [history[max(0, end - 2) : end] for end in range(len(history), 0, -2)][:cells]
    drawn = []
    for pair in reversed(pairs):
        known = [value for value in pair if value is not None]
        level = sum(known) / len(known) / 100 if known else None
        drawn.append("·" if level is None else BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS)))])
    return "".join(drawn)


def node_words(node: NodeRow) -> str:
    """Return a node's state: 'mixed, 2 of 4 rtx free', 'drained: bad fan'."""
    if node.reason:
        return f"{clean_line(node.state)}: {clean_line(node.reason)}"
    if not node.gpus:
        return f"{clean_line(node.state)}, no GPU"
    kind = clean_line(node.kind) or "GPUs"
    return f"{clean_line(node.state)}, {max(0, node.gpus - node.used)} of {node.gpus} {kind} free"
