"""One GPU at one moment, whoever makes it: what is told of it, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 2**30
WITH_BFLOAT16 = (8, 0)  # Ampere; AMD's cards that ROCm runs on all have it, and tell no such number

# lost: it is off the bus, or wants a reset; failing: its memory is damaged; unreadable: not for us, or undivided MIG
Fault = Literal["", "lost", "failing", "unreadable"]


@dataclass(frozen=True)
class Process:
    """A process that computes on a GPU; its memory is None where the driver does not tell."""

    pid: int
    gib: float | None


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one instance of a divided one, at one moment."""

    index: int  # NVML's: the order of the PCI bus
    uuid: str
    name: str
    total_gib: float = 0.0  # without what the driver keeps to itself
    used_gib: float = 0.0  # by anybody
    others_gib: float = 0.0  # of that, by processes that are none of ours, as the supervisor divides it
    busy: int | None = None  # % of the last moment in which it computed
    celsius: int | None = None
    watts: float | None = None
    processes: tuple[Process, ...] | None = None  # None: not told
    fault: Fault = ""
    trouble: str = ""  # the fault in words
    is_part: bool = False  # an instance: CUDA lets a process use one of them, and no other GPU beside
    capability: tuple[int, int] | None = None  # CUDA's compute capability; None: not told, or not NVIDIA's

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16; of one that does not say, it is taken to."""
        return computes_in_bfloat16(self.capability)


def computes_in_bfloat16(capability: tuple[int, int] | None) -> bool:
    """Return whether a GPU of a compute capability has arithmetic for bfloat16 (and kernels of flash-attn)."""
    return capability is None or capability >= WITH_BFLOAT16


@dataclass(frozen=True)
class GpuReading:
    """All GPUs at one moment; `trouble` is why there is nothing to see, where a driver should be there."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""  # the newest CUDA that the driver runs
    trouble: str = ""
