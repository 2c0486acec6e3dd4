"""What a failure is, by the words of libraries, drivers and the kernel: its kind, in plain words, what to try."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from finetop.core.protocol.runs import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS: frozenset[str] = frozenset(get_args(Kind))


@dataclass(frozen=True)
class Cause:
    """Why a job failed, and what to do about it."""

    kind: Kind
    cause: str
    hint: str = ""


MEMORY = (
    "Close other programs, or train with less: lower train.batch_size or data.max_tokens, or a smaller model."
)
_GPU_GONE = "See `nvidia-smi` and `dmesg | grep -i xid`: it may need a reset or a restart of the machine."
_RANKS = "One rank may have died first: see whose log ends early. Then the network between them."

# The first that is found counts. Texts as CUDA 12 and 13, torch 2.13, NCCL 2.27, glibc and Linux 6 write them.
_KNOWN: tuple[tuple[str, Cause], ...] = (
    (
        r"CUDA out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED|CUDA error: out of memory",
        Cause("gpu_out_of_memory", "out of memory on the GPU", MEMORY),
    ),
    (
        r"DefaultCPUAllocator|std::bad_alloc|[Cc]annot allocate memory|\[Errno 12\]|MemoryError"
        r"|Memory allocation still failed|cudaErrorMemoryAllocation.*host",
        Cause("out_of_memory", "out of memory on this machine", MEMORY),
    ),
    (
        r"No space left on device|\(os error 28\)|Disk quota exceeded",
        Cause(
            "disk_full",
            "disk full",
            "Free some space in the home folder's file system (finetop rm removes runs), then retry.",
        ),
    ),
    (
        r"insufficient shared memory|unable to (?:open|mmap|allocate) shared memory|shm_open",
        Cause(
            "environment",
            "/dev/shm is too small",
            "Make it larger (docker run --shm-size=8g), or set trainer_args.dataloader_num_workers to 0.",
        ),
    ),
    (
        r"GPU is lost|fallen off the bus|uncorrectable ECC|NVLink (?:was detected|error)|GPU requires reset"
        r"|cudaErrorECCUncorrectable|cudaErrorDevicesUnavailable|CUDA-capable device\(s\) is/are busy",
        Cause("gpu_lost", "the GPU is lost: it does not answer, or its memory is damaged", _GPU_GONE),
    ),
    (
        r"device-side assert",
        Cause(
            "gpu_error",
            "an assertion failed on the GPU (device-side assert)",
            "Most often a number beyond its table: a token or label that the model's vocabulary has not. "
            "With CUDA_LAUNCH_BLOCKING=1 the traceback names the line; on the CPU the error names the number.",
        ),
    ),
    (
        r"illegal memory access|illegal instruction was enc|misaligned address|unspecified launch failure"
        r"|CUBLAS_STATUS_\w+|CUDNN_STATUS_\w+|CUDA error:|HIP error:",
        Cause(
            "gpu_error",
            "a kernel failed on the GPU",
            "Retry once; if it fails at the same step, run with CUDA_LAUNCH_BLOCKING=1 to see where.",
        ),
    ),
    (
        r"NCCL|Watchdog caught collective operation timeout|DistBackendError|gloo.*(?:[Tt]imed? ?out|closed by peer)"
        r"|Connection closed by peer|Timed out waiting.*ms for (?:recv|send) operation",
        Cause("communication", "the ranks lost each other", _RANKS),
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
    """Recognise a failure by its message; None for one that is nobody's but the program's."""
    return next((cause for pattern, cause in _compiled if pattern.search(text)), None)


def of_lines(lines: Sequence[str]) -> Cause | None:
    """Recognise a failure by the end of a log, the last line first."""
    return next((cause for line in reversed(lines) if (cause := of_words(line))), None)


def as_kind(word: str) -> Kind:
    """Take a job's word for the kind; one that a newer finetop has is `code` here."""
    return word if word in KINDS else "code"  # type: ignore[return-value]
