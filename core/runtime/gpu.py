"""One GPU at one moment, of any maker: its properties, usage and faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 2**30
Capability = tuple[int, int] | None  # CUDA's compute capability; None: unknown, or not NVIDIA
WITH_BFLOAT16 = (8, 0)  # Ampere; all AMD cards that ROCm supports have it, and report no such number

# lost: off the bus, or needs a reset; failing: damaged memory; unreadable: no permission, or undivided MIG
Fault = Literal["", "lost", "failing", "unreadable"]


@dataclass(frozen=True)
class Process:
    """A process that computes on a GPU; its memory is None if the driver does not report it."""

    pid: int
    gib: float | None


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one instance of a divided one, at one moment."""

    index: int  # NVML's: the order of the PCI bus
    uuid: str
    name: str
    total_gib: float = 0.0  # without the driver's own share
    used_gib: float = 0.0  # by any process
    others_gib: float = 0.0  # of that, by processes that aren't ours, as determined by the supervisor
    busy: int | None = None  # utilization in % over the last moment
    celsius: int | None = None
    watts: float | None = None
    processes: tuple[Process, ...] | None = None  # None: not available
    fault: Fault = ""
    trouble: str = ""  # the fault in words
    is_past: bool = False  # the fault is a memory error since the driver was loaded: nothing fails now
    is_part: bool = False  # an instance: CUDA allows a process only one, and no other GPU with it
    capability: Capability = None

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16; assumed if unknown."""
        return computes_in_bfloat16(self.capability)


def computes_in_bfloat16(capability: Capability) -> bool:
    """Return whether this compute capability has bfloat16 arithmetic (and flash-attn kernels)."""
    return capability is None or capability >= WITH_BFLOAT16


def is_named(gpu: Gpu, name: int | str) -> bool:
    """Return True if a number or the start of a UUID names this GPU."""
    text = str(name)
    return gpu.index == int(text) if text.isdecimal() else bool(text) and gpu.uuid.startswith(text)


@dataclass(frozen=True)
class GpuReading:
    """All GPUs at one moment; `trouble` is why there are none, if there should be."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""  # the newest CUDA that the driver supports
    trouble: str = ""
