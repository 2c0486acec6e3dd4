"""Describes why a job failed: turns an exception into its final event, with cause and hint."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from finetop.core.errors import FinetopError, Kind
from finetop.core.protocol.events import Ended
from finetop.core.runtime import gpu_share, parts
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
        return Ended("failed", DISK_FULL.cause, DISK_FULL.hint, 4, DISK_FULL.kind)
    lines = str(error).strip().splitlines()
    recognised = of_words(f"{type(error).__name__}: {error}")
    if recognised is not None:
        text = f"{recognised.cause}: {lines[0]}" if lines else recognised.cause
        return Ended("failed", text[:LONGEST], recognised.hint, 1, recognised.kind)
    cause = f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
    return Ended("failed", cause[:LONGEST], "The traceback is in the job's log.", 1, "code")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a lack of memory, of the GPU or of the machine."""
    names, text = {kind.__name__ for kind in type(error).__mro__}, str(error)
    is_named = bool(names & {"OutOfMemoryError", "MemoryError"})
    return is_named or "CUDA out of memory" in text or bool(_HOST.search(text))


def is_of_gpu(error: BaseException) -> bool:
    """Return whether a lack of memory is one of the GPU, not of the machine."""
    return "CUDA" in str(error) or type(error).__name__ == "OutOfMemoryError"


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the disk or a quota is full, even if a library wrapped the error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "(os error 28)" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_of_machine(error: BaseException) -> bool:
    """Return whether the cause is memory, the disk, a GPU or its driver, not the data being read."""
    text = f"{type(error).__name__}: {error}"
    return is_out_of_memory(error) or is_disk_full(error) or of_words(text) is not None


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
    return f" on this machine{_available(': ')}" if isinstance(error, MemoryError) else ""


def _available(before: str) -> str:
    """Return how much memory is available, in words; '' if there is too little to find out."""
    try:
        import psutil

        return f"{before}{gib_of(psutil.virtual_memory().available)} GiB available"
    except (ImportError, MemoryError, OSError):
        return ""


KINDS: frozenset[str] = frozenset(get_args(Kind))


@dataclass(frozen=True)
class Cause:
    """Why a job failed, and a hint."""

    kind: Kind
    cause: str
    hint: str = ""


MEMORY = (
    "Close other programs, or train with less: lower train.batch_size or data.max_tokens, or a smaller model."
)
_MEMORY_THERE = "Close other programs, or train with less: a smaller batch, shorter rows, or a smaller model."
_GPU_GONE = "See `nvidia-smi` and `dmesg | grep -i xid`: it may need a reset or a restart of the machine."
_ROOM = "Free some space in the home folder's file system (finetop rm removes runs), then retry."
DISK_FULL = Cause("disk_full", "disk full", _ROOM)
_SHARED = "Make it larger (docker run --shm-size=8g), or set trainer_args.dataloader_num_workers to 0."
_SHARED_THERE = "Make it larger (docker run --shm-size=8g), or load its data without worker processes."
_ASSERTION = (
    "Most often an index out of range: a token or label outside the model's vocabulary. "
    "With CUDA_LAUNCH_BLOCKING=1 the traceback names the line; on the CPU the error names the index."
)
_KERNEL = "Retry once; if it fails at the same step, run with CUDA_LAUNCH_BLOCKING=1 to see where."
_COMPILER = "Triton could not build its kernels: a C compiler or Python.h is missing"
_RANKS = "One rank may have died first: see whose log ends early. Then the network between them."
# The first match counts. Texts as in CUDA 12 and 13, torch 2.13, NCCL 2.27, glibc and Linux 6.
_KNOWN: tuple[tuple[str, Cause], ...] = (
    (
        r"CUDA out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED|CUDA error: out of memory",
        Cause("gpu_out_of_memory", "out of memory on the GPU", MEMORY),
    ),
    (
        r"DefaultCPUAllocator|std::bad_alloc|[Cc]annot allocate memory|\[Errno 12\]|MemoryError"
        r"|Memory allocation still failed|cudaErrorMemoryAllocation.*host"
        r"|failed to map segment from shared object(?!: Operation not permitted)",  # that: a disk mounted noexec
        Cause("out_of_memory", "out of memory on this machine", MEMORY),
    ),
    (r"No space left on device|\(os error 28\)|Disk quota exceeded", DISK_FULL),
    (
        r"insufficient shared memory|unable to (?:open|mmap|allocate) shared memory|shm_open",
        Cause("environment", "/dev/shm is too small", _SHARED),
    ),
    (
        r"GPU is lost|fallen off the bus|uncorrectable ECC|NVLink (?:was detected|error)|GPU requires reset"
        r"|cudaErrorECCUncorrectable|cudaErrorDevicesUnavailable|CUDA-capable device\(s\) is/are busy",
        Cause("gpu_lost", "the GPU is lost: it does not answer, or its memory is damaged", _GPU_GONE),
    ),
    (
        r"device-side assert",
        Cause("gpu_error", "an assertion failed on the GPU (device-side assert)", _ASSERTION),
    ),
    (
        r"illegal memory access|illegal instruction was enc|misaligned address|unspecified launch failure"
        r"|CUBLAS_STATUS_\w+|CUDNN_STATUS_\w+|CUDA error:|HIP error:",
        Cause("gpu_error", "a kernel failed on the GPU", _KERNEL),
    ),
    (
        r"NCCL|Watchdog caught collective operation timeout|DistBackendError|gloo.*(?:[Tt]imed? ?out|closed by peer)"
        r"|Connection closed by peer|Timed out waiting.*ms for (?:recv|send) operation",
        Cause("communication", "the ranks lost each other", _RANKS),
    ),
    (
        r"Failed to find C compiler|Python\.h: No such file",
        Cause("environment", _COMPILER, "See finetop doctor."),
    ),
    (
        r"CUDA driver version is insufficient|no CUDA-capable device|Found no NVIDIA driver|CUDA unknown error"
        r"|forward compatibility was attempted",
        Cause("environment", "the GPU's driver does not fit", "See finetop doctor."),
    ),
)
_compiled = [(re.compile(pattern), cause) for pattern, cause in _KNOWN]
CRASHES = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic fault",
    signal.SIGILL: "illegal instruction",
}


def of_words(text: str) -> Cause | None:
    """Recognise a failure by its message; None for an exception of the program itself."""
    return next((cause for pattern, cause in _compiled if pattern.search(text)), None)


def of_lines(lines: Sequence[str]) -> Cause | None:
    """Recognise a failure from the end of a log, last line first."""
    return next((cause for line in reversed(lines) if (cause := of_words(line))), None)


def of_another_program(cause: Cause) -> Cause:
    """Return a failure of another program, whose hint must not name settings that only our trainers have."""
    hints = {MEMORY: _MEMORY_THERE, _SHARED: _SHARED_THERE}
    return replace(cause, hint=hints.get(cause.hint, cause.hint))


def as_kind(word: str) -> Kind:
    """Return a job's failure kind; kinds of a newer finetop become `code`."""
    return word if word in KINDS else "code"  # type: ignore[return-value]
