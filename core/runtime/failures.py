"""Describes why a job failed: turns an exception into its final event, with cause and hint."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence
from typing import get_args

from finetop.core.errors import FinetopError, Kind
from finetop.core.protocol.events import Ended
from finetop.core.runtime import causes, cgroups, gpu_share, parts
from finetop.core.wording.units import gib, gib_of

_WANTED = re.compile(r"Tried to allocate ([\d.]+ [KMG]iB)")
_FREE = re.compile(r"total capacity of ([\d.]+ [KMG]iB) of which ([\d.]+ [KMG]iB) is free")
# If the process is limited to less than the card has (gpu_share.py), the card's free memory means nothing.
_ALLOWED = re.compile(
    r"([\d.]+ [KMG]iB) allowed; Of the allocated memory ([\d.]+ [KMG]iB) is allocated by PyTorch"
    r".*?, and ([\d.]+ [KMG]iB) is reserved",
    re.DOTALL,
)
_OTHER = re.compile(r"Process \d+ has ([\d.]+ [KMG]iB) memory in use")
_HOST = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
ROUNDED_GIB = 0.1  # the allocator works in whole segments and prints two decimals
LONGEST = 500  # characters of a cause
LESS = "Close other programs, or use a smaller model."


def ended(error: BaseException, what_to_lower: str = LESS) -> Ended:
    """Return the ended event of a failure; `what_to_lower` is the hint if memory ran out."""
    error = parts.of_error(error) or error
    if isinstance(error, FinetopError):
        return Ended("failed", error.message[:LONGEST], error.hint, error.exit_code, error.kind)
    if is_out_of_memory(error):
        cause = f"out of memory{_numbers(error)}"
        kind = "gpu_out_of_memory" if is_of_gpu(error) else "out_of_memory"
        if beside := _beside(error):
            have = "has" if len(beside) == 1 else "have"
            hint = f"Try again once {named(beside)} {have} ended, or: {what_to_lower}"
            return Ended("failed", cause, hint, 1, "gpu_taken")
        if others_gib := _of_others(error):
            cause = f"{cause}, {gib(others_gib)} GiB used by others"
            return Ended("failed", cause, f"Wait for them, or: {what_to_lower}", 1, "gpu_taken")
        return Ended("failed", cause, what_to_lower, 1, kind)
    if is_disk_full(error):
        return Ended("failed", causes.DISK_FULL.cause, causes.DISK_FULL.hint, 4, causes.DISK_FULL.kind)
    lines = str(error).strip().splitlines()
    recognised = causes.of_words(f"{type(error).__name__}: {error}")
    if recognised is not None:
        text = f"{recognised.cause}: {lines[0]}" if lines else recognised.cause
        return Ended("failed", text[:LONGEST], recognised.hint, 1, recognised.kind)
    cause = f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
    return Ended("failed", cause[:LONGEST], "The traceback is in the job's log.", 1, "code")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a lack of memory, of the GPU or of the machine."""
    return _lacks(error) in ("gpu_out_of_memory", "out_of_memory")


def is_of_gpu(error: BaseException) -> bool:
    """Return whether a lack of memory is one of the GPU, not of the machine."""
    return _lacks(error) == "gpu_out_of_memory"


def _lacks(error: BaseException) -> Kind:
    """Return the kind of an error that a library raised for what the machine lacks; '' for others."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "MemoryError" in names:
        return "out_of_memory"
    found = causes.of_words(str(error)) if names & {"RuntimeError", "OSError"} else None
    if "OutOfMemoryError" in names:  # torch's; of a rank it has no more than "out of memory"
        return "out_of_memory" if found is not None and found.kind == "out_of_memory" else "gpu_out_of_memory"
    return "" if found is None else found.kind


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the disk or a quota is full, even if a library wrapped the error; /dev/shm is no disk."""
    while error is not None:
        found = causes.of_words(str(error))
        if found is causes.SHARED_FULL:
            return False
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if found is causes.DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def is_of_machine(error: BaseException) -> bool:
    """Return whether the cause is memory, the disk, a GPU or its driver, not the data being read."""
    text = f"{type(error).__name__}: {error}"
    return is_out_of_memory(error) or is_disk_full(error) or causes.of_words(text) is not None


def _of_others(error: BaseException) -> float:
    """Return how many GiB of the GPU others use, if the job would have had enough without them; else 0."""
    needed = _WANTED.search(str(error))
    others_gib = sum(_gib(size) for size in _OTHER.findall(str(error)))
    return others_gib if needed and others_gib >= _gib(needed[1]) else 0.0


def _allowed(text: str) -> re.Match[str] | None:
    """Match what the process may hold and what it holds; None if the card was full before that limit was reached."""
    limit, needed, card = _ALLOWED.search(text), _WANTED.search(text), _FREE.search(text)
    if limit is None or needed is None or (card and _gib(limit[1]) >= _gib(card[1])):
        return None
    return limit if _gib(limit[2]) + _gib(limit[3]) + _gib(needed[1]) > _gib(limit[1]) - ROUNDED_GIB else None


def _beside(error: BaseException) -> tuple[str, ...]:
    """Return the runs that leave a job too little of its GPU; empty if it would not fit without them either."""
    text, beside = str(error), gpu_share.limit().beside
    needed, card, allowed = _WANTED.search(text), _FREE.search(text), _allowed(text)
    if not (beside and needed and card and allowed):
        return ()
    return beside if _gib(needed[1]) + _gib(allowed[2]) <= _gib(card[1]) else ()


def named(runs: Sequence[str]) -> str:
    """Name runs in a sentence: 'run a', 'runs a, b'."""
    return f"run{'s' if len(runs) > 1 else ''} {', '.join(runs)}"


def _gib(size: str) -> float:
    number, unit = size.split()
    return float(number) / {"GiB": 1, "MiB": 2**10, "KiB": 2**20}[unit]


def _numbers(error: BaseException) -> str:
    text = str(error)
    needed, free, host = _WANTED.search(text), _FREE.search(text), _HOST.search(text)
    allowed = _allowed(text)
    if needed and allowed:
        beside = gpu_share.limit().beside
        whose = f"are left beside {named(beside)}" if beside else "budget.memory_gib allows"
        return f" on the GPU: {needed[1]} more needed, {allowed[2]} of the {allowed[1]} that {whose} are used"
    if needed and free:
        return f" on the GPU: {needed[1]} more needed, {free[2]} of {free[1]} free"
    if host:
        return f" on this machine: {gib_of(int(host[1]))} GiB more needed{_available(', ')}"
    return " on the GPU" if is_of_gpu(error) else f" on this machine{_available(': ')}"


def _available(before: str) -> str:
    """Return how much memory is available, in words; '' if there is too little to find out."""
    try:
        return f"{before}{gib_of(cgroups.free_memory())} GiB available"
    except (ImportError, MemoryError, OSError):
        return ""


KINDS: frozenset[str] = frozenset(get_args(Kind))


CRASHES = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic fault",
    signal.SIGILL: "illegal instruction",
}


def as_kind(word: str) -> Kind:
    """Return a job's failure kind; kinds of a newer finetop become `code`."""
    return word if word in KINDS else "code"  # type: ignore[return-value]
