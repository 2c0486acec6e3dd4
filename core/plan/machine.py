"""What this machine offers: GPU memory, free memory, FLOP/s, free disk space."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from finetop.core.models import cpu_formats, devices
from finetop.core.runtime import cgroups, compiler, gpus as nvml
from finetop.core.runtime.gpu import GIB, Gpu
from finetop.core.runtime.home import Home
from finetop.core.text import counted

# 16-bit tensor arithmetic of whole cards, dense, in TFLOP/s, from their makers' data sheets.
TERAFLOPS = {
    "H200": 989, "H100": 989, "H800": 989, "B200": 2250, "A100": 312, "A800": 312, "A40": 150, "A10G": 70,
    "A10": 125, "A6000": 155, "RTX 6000 Ada": 364, "L40S": 362, "L40": 181, "L4": 121, "V100": 112, "T4": 65,
    "RTX 5090": 210, "RTX 4090": 165, "RTX 4080": 97, "RTX 3090": 71, "RTX 3080": 60, "P100": 19,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run would train. Memory is that of one GPU, or free for a process on the CPU, in bytes."""

    device: str  # "gpu" or "cpu"
    name: str
    memory: float | None  # None: not known
    gpus: int = 0
    has_bfloat16: bool = True  # instructions for it; with several GPUs, on any
    speeds: cpu_formats.Speeds | None = None  # of a CPU with bfloat16, once a job has measured them
    home: Path | None = None  # where they are stored
    flops: float | None = None  # FLOP/s, in the format that it trains in
    free_disk: float | None = None
    total: float | None = None  # total memory, used or not
    host: float | None = None  # the same beside the GPUs
    lacks: str = ""  # what prevents Triton from building kernels for its GPUs


def read_machine(home: Path, *, measure: bool = True, use_gpu: bool = True) -> Machine:
    """Inspect this machine, with `home`'s disk; `measure` times a matrix product if there is no GPU (0.1 s)."""
    disk = free_disk(home)
    cards = gpus() if use_gpu else ()
    if cards:
        first = cards[0]
        return Machine(
            "gpu",
            first.name,
            first.total_gib * GIB,
            len(cards),
            has_bfloat16=any(card.has_bfloat16 for card in cards),
            flops=card_flops(first.name),
            free_disk=disk,
            total=max(card.total_gib for card in cards) * GIB,
            host=float(cgroups.total_memory()),
            lacks=compiler.triton_lacks(),
        )
    return Machine(
        device="cpu",
        name=counted(cgroups.cores(), "CPU core"),
        memory=float(cgroups.free_memory()),
        has_bfloat16=devices.cpu_has_bfloat16(),
        speeds=cpu_formats.kept(Home(home)),
        home=home,
        total=float(cgroups.total_memory()),
        flops=cpu_flops() if measure else None,
        free_disk=disk,
    )


def as_measured(machine: Machine) -> Machine:
    """Return the machine with speeds measured since, such as by a rehearsal."""
    if machine.device != "cpu" or machine.home is None:
        return machine
    return replace(machine, speeds=cpu_formats.kept(Home(machine.home)))


@lru_cache(maxsize=1)
def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that are fit for jobs."""
    return tuple(gpu for gpu in nvml.read_once().gpus if not gpu.fault)


def free_disk(folder: Path) -> float | None:
    """Return the free space on the disk of a folder, or of its nearest existing parent, in bytes."""
    for place in (folder, *folder.parents):
        if place.exists():
            return float(shutil.disk_usage(place).free)
    return None


def card_flops(name: str) -> float | None:
    """Return a card's FLOP/s by its name, if it is a known one."""
    known = sorted((key for key in TERAFLOPS if key.lower() in name.lower()), key=len)
    return TERAFLOPS[known[-1]] * 1e12 if known else None


@lru_cache(maxsize=1)
def cpu_flops() -> float:
    """Time a float32 matrix product of 1,024 with numpy, best of three: the cores' peak FLOP/s."""
    import numpy

    size = 1024
    left = numpy.full((size, size), 0.5, dtype=numpy.float32)
    best = float("inf")
    for _ in range(3):
        before = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best
