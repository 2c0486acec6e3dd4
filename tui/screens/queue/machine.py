"""Draws the machines above the queue: memory, load and users of each GPU, or the job slots without one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.machine import GpuRow, GpusAnswer, NodeRow
from finetop.core.text import clean_line
from finetop.core.wording import gpus as words
from finetop.core.wording.durations import short_span
from finetop.tui.screens.queue.state import OnMachine
from finetop.tui.text import Line, cut_end, cut_middle, line_width
from finetop.tui.theme import StyleName
from finetop.tui.widgets.bar import FREE, eighths, share_bar

BAR = 20
IDLE_GIB = 0.25  # less than a CUDA context, so a desktop's memory does not count as use
OLD_S = 20.0  # readings arrive every two seconds
HISTORY_FROM = 100  # least terminal width that shows the history
HEAT_FROM = 120
OTHERS = "▒"


def machine_lines(machines: Sequence[OnMachine], *, width: int, rows: int) -> list[Line]:
    """Draw all machines in `rows` rows; the last counts the lines that do not fit."""
    lines: list[Line] = []
    titled = [machine.gpus for machine in machines if machine.gpus is not None and machine.gpus.gpus]
    if titled:
        lines.append(head_line(width, titled[0]))
    for machine in machines:
        if machine.label:
            lines.append(_label(machine))
        if machine.gpus is not None:
            lines += _lines(machine.gpus, width)
    if len(lines) > rows > 0:
        hidden = len(lines) - rows + 1
        lines = [*lines[: rows - 1], ((f"  … {hidden} more lines: finetop gpus", "dim"),)]
    return lines


def free_words(machines: Sequence[OnMachine]) -> str:
    """Return how many GPUs are free; empty if there are no GPUs."""
    gpus = [gpu for machine in machines if machine.gpus is not None for gpu in machine.gpus.gpus]
    free = sum(1 for gpu in gpus if is_free(gpu))
    return f"{free} of {len(gpus)} GPU{'' if len(gpus) == 1 else 's'} free" if gpus else ""


def is_free(gpu: GpuRow) -> bool:
    """Return True if a GPU is usable and unused."""
    return not (gpu.fault or gpu.left_out or gpu.jobs or gpu.others_gib > IDLE_GIB)


def head_line(width: int, answer: GpusAnswer) -> Line:
    """Return the header of the GPU rows."""
    title = f" GPU  {'memory GiB':<{BAR}}  {'':<9}    busy"
    if width >= HEAT_FROM:
        title += "     °C"
    if width >= HISTORY_FROM:
        title += f"  {words.history(answer).title:<{words.HISTORY}}"
    return ((f"{title}  who", "dim"),)


def _label(machine: OnMachine) -> Line:
    name: Line = ((f" {cut_end(clean_line(machine.label), 30)}", "bold"),)
    return (*name, ("  out of reach; last known state", "amber")) if machine.is_away else name


def _lines(answer: GpusAnswer, width: int) -> list[Line]:
    lines: list[Line] = []
    if answer.trouble:
        lines.append(((" ✗ ", "red"), (clean_line(answer.trouble), "red"), (": finetop doctor", "")))
    elif not answer.gpus and not answer.nodes:
        lines.append(_slots(answer, width))
    elif answer.age_s > OLD_S:
        lines.append(((f" ! last read {short_span(answer.age_s)} ago", "amber"),))
    lines += [gpu_line(gpu, width) for gpu in answer.gpus]
    lines += [node_line(node, width) for node in answer.nodes]
    if answer.gpus and answer.on_cpu:
        names = ", ".join(f"{clean_line(job.run)} ({job.verb})" for job in answer.on_cpu)
        lines.append((("  CPU  ", "dim"), (names, "")))
    return lines


def _slots(answer: GpusAnswer, width: int) -> Line:
    live, slots = len(answer.on_cpu), max(1, answer.cpu_jobs)
    use = f"  {live} of {slots} job{'' if slots == 1 else 's'} at a time"
    line: Line = ((" CPU  ", "dim"), *share_bar(live / slots, BAR, "cyan"), (use, ""))
    cores = f"   {answer.cores} core{'' if answer.cores == 1 else 's'}, no GPU"
    for text in (f"{cores} (settings.yaml slots.cpu_jobs)", cores):
        if line_width(line) + len(text) <= width:
            return (*line, (text, "dim"))
    return line


def gpu_line(gpu: GpuRow, width: int) -> Line:
    """Draw a GPU as one row."""
    line: Line = ((f"{gpu.index:>3}   ", ""),)
    if words.is_unread(gpu):
        line = (*line, (f"{'-' * BAR}  {'':<9}     -  ", "dim"))
        if width >= HEAT_FROM:
            line = (*line, ("     -", "dim"))
    else:
        size = f"{gpu.ours_gib + gpu.others_gib:.0f} of {gpu.total_gib:.0f}"
        line = (*line, *memory_bar(gpu), (f"  {size:>9}  {words.BUSY.text(gpu):>6}", ""))
        if width >= HEAT_FROM:
            line = (*line, (f"{words.CELSIUS.text(gpu):>7}", ""))
    if width >= HISTORY_FROM:
        style: StyleName = "cyan" if gpu.jobs else "amber" if gpu.others else "dim"
        line = (*line, (f"  {words.bars(gpu.history, words.HISTORY):>{words.HISTORY}}", style))
    room = width - line_width(line) - 2
    return (*line, ("  ", ""), *user_spans(gpu, room))


def node_line(node: NodeRow, width: int) -> Line:
    """Draw a cluster node as one row: its GPUs, and this home's runs on it."""
    bar = share_bar(node.used / node.gpus if node.gpus else 0.0, BAR, "cyan")
    line: Line = ((f" {cut_end(clean_line(node.name), 12):<12} ", ""), *bar)
    text = words.node_words(node) + (f"   {clean_line(', '.join(node.jobs))}" if node.jobs else "")
    return (*line, ("  ", ""), (cut_end(text, width - line_width(line) - 2), "amber" if node.reason else ""))


def memory_bar(gpu: GpuRow) -> Line:
    """Draw a GPU's memory: used by finetop, by others, and free."""
    ours, others = (_share(gib, gpu.total_gib) for gib in (gpu.ours_gib, gpu.others_gib))
    mine = eighths(ours, BAR)
    strangers = min(BAR - len(mine), round(BAR * others) or int(others > 0))
    free = BAR - len(mine) - strangers
    return ((mine, "cyan"), (OTHERS * strangers, "amber"), (FREE * free, "faint"))


def _share(gib: float, total: float) -> float:
    """Return the share of the memory in use; 0 if it is only a desktop's."""
    return min(1.0, gib / max(total, 0.01)) if gib > IDLE_GIB else 0.0


def user_spans(gpu: GpuRow, room: int) -> Line:
    """Return who uses a GPU, or its fault, in `room` cells."""
    if gpu.fault:
        return (("✗ ", "red"), (cut_end(words.fault_words(gpu), room - 2), "red"))
    parts: list[tuple[str, StyleName]] = []
    for job in gpu.jobs:
        verb = "" if job_kinds.of(job.verb).trains_here else f" ({job.verb})"
        parts.append((cut_middle(clean_line(job.run), 24) + verb, ""))
    parts += [(words.foreign_process(other), "amber") for other in gpu.others[:2]]
    if gpu.others_gib > IDLE_GIB and not gpu.others:
        parts.append(("others", "amber"))
    if gpu.left_out:
        parts.append((clean_line(gpu.left_out), "dim"))
    elif gpu.kept_for:
        kept = f"reserved for {cut_middle(clean_line(gpu.kept_for), 24)}"
        parts.append((kept if parts else f"free, {kept}", ""))
    return _joined(parts, room) if parts else (("free", "dim"),)


def _joined(parts: Sequence[tuple[str, StyleName]], room: int) -> Line:
    line: Line = ()
    for number, (text, style) in enumerate(parts):
        comma = ", " if number else ""
        left = room - line_width(line)
        if cell_len(comma + text) > left:
            return (*line, (cut_end(comma + text, left), style)) if left > 0 else line
        line = (*line, (comma, ""), (text, style))
    return line
