"""Where a job's processes are, summarized from the stacks that Python's faulthandler writes to its log."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

_ASKED = re.compile(r"finetop: stacks of process (\d+)(?:, rank (\d+))?:")
_THREAD = re.compile(r"(Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):")
_FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')
SHOWN = 4  # frames per process
# A rank with these frames waits for the others; a rank without is the one that they wait for.
_MEETS = ("torch/distributed/", "accelerate/utils/operations.py")
# The same, but only as innermost frame: gradients are exchanged in the backward pass, and CUDA is waited for.
_MAY_MEET = ("torch/autograd/graph.py", "torch/cuda/__init__.py")


@dataclass(frozen=True)
class Frame:
    file: str
    line: str
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({'/'.join(self.file.split('/')[-2:])}:{self.line})"


@dataclass
class Stack:
    """The main thread of one process, innermost frame first."""

    pid: int
    rank: int | None
    frames: list[Frame] = field(default_factory=list)

    @property
    def meets(self) -> bool:
        """Whether it waits for other ranks; importing such a module does not count."""
        is_import = any("<frozen importlib" in frame.file for frame in self.frames)
        if is_import or not self.frames:
            return False
        innermost = any(part in self.frames[0].file for part in _MAY_MEET)
        return innermost or any(part in frame.file for frame in self.frames for part in _MEETS)


def read(text: str) -> list[Stack]:
    """Find the newest stack of each process in a piece of a log.

    The signal goes to the main thread, which faulthandler calls the current one; without one, the last thread counts.
    """
    by_pid: dict[int, Stack] = {}
    stack, is_current = None, False
    for line in text.splitlines():
        if header := _ASKED.search(line):
            stack = Stack(int(header[1]), None if header[2] is None else int(header[2]))
            by_pid[stack.pid], is_current = stack, False
        elif stack is None:
            continue
        elif thread := _THREAD.match(line):
            taking = not is_current
            if taking:
                stack.frames.clear()
                is_current = thread[1] == "Current thread"
        elif (frame := _FRAME.match(line)) and taking:
            stack.frames.append(Frame(*frame.groups()))
    return [stack for stack in by_pid.values() if stack.frames]


def main_thread() -> Stack:
    """Return the stack of this process's main thread."""
    stack = Stack(0, None)
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  # documented by Python
    while frame is not None:
        stack.frames.append(Frame(frame.f_code.co_filename, str(frame.f_lineno), frame.f_code.co_name))
        frame = frame.f_back
    return stack


def at_crash(lines: Sequence[str]) -> str:
    """Return where Python was when native code crashed, from the end of a log; '' if it does not say."""
    return _location([Frame(*frame.groups()) for line in lines if (frame := _FRAME.match(line))])


def _location(frames: Sequence[Frame]) -> str:
    return ", from ".join(map(str, frames[:SHOWN]))


def describe(stacks: list[Stack]) -> list[str]:
    """Return a line per process with its location; with several ranks, first the one that the others wait for."""
    ranks = sorted((stack for stack in stacks if stack.rank is not None), key=lambda stack: stack.rank or 0)
    shown = ranks or stacks[:1]
    names = ["" if stack.rank is None else f"rank {stack.rank}: " for stack in shown]
    lines = [f"{name}in {_location(stack.frames)}" for name, stack in zip(names, shown, strict=True)]
    missing = [stack for stack in ranks if not stack.meets]
    if missing and len(missing) < len(ranks):
        lines.insert(0, f"the others wait for {' and '.join(f'rank {stack.rank}' for stack in missing)}")
    return lines
