"""The GPUs: whether the driver answers and fits torch, which GPUs are unfit, and whether kernels can be compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from finetop.core.features.doctor.checks import Finding, ok, trouble, warning
from finetop.core.runtime import causes, cgroups, compiler, gpus, torch_fits
from finetop.core.runtime.gpu import Gpu, GpuReading
from finetop.core.text import counted

RESET = "See `dmesg | grep -i xid`, then nvidia-smi --gpu-reset -i {index}, or reboot. Jobs use the others."


def gpu_findings() -> Iterator[Finding]:
    reading = gpus.read_once()
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    if reading.trouble:
        yield trouble("GPU", reading.trouble, causes.RELOAD)
    elif reading.gpus:
        yield ok("GPU", gpu_summary(reading))
        yield from (unfit(gpu) for gpu in reading.gpus if gpu.fault)
        fit = [gpu for gpu in reading.gpus if not gpu.fault]
        yield from (trouble("GPU", found.text, found.fix) for found in torch_fits.misfits(reading, fit))
        yield from kernels_can_be_built()
        if not gpus.sees_all_processes():
            text = "in a container: memory used by others is visible, but maybe not who uses it"
            yield ok("GPU", text)
    elif devices:
        text = f"{len(devices)} in /dev, but {gpus.LIBRARY} shows none: the driver is incomplete"
        yield trouble("GPU", text, torch_fits.INSTALL)
    else:
        yield ok("GPU", f"none found; {counted(cgroups.cores(), 'CPU core')}")


def gpu_summary(reading: GpuReading) -> str:
    """Return which GPUs there are: '2 x NVIDIA H100 80GB HBM3 (80 GiB), driver 580.65.06 for CUDA up to 13.0'."""
    kinds = Counter(
        f"{gpu.name or 'GPU'} ({gpu.total_gib:.0f} GiB{'' if gpu.has_bfloat16 else ', float16 alone'})"
        for gpu in reading.gpus
    )
    names = ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items())
    return f"{names}, driver {reading.driver or '?'} for CUDA up to {reading.cuda or '?'}"


def unfit(gpu: Gpu) -> Finding:
    """Report why no job gets a GPU."""
    fix = RESET.format(index=gpu.index) if gpu.fault == "lost" else "Jobs use the others."
    if gpu.is_past:
        fix = f"{fix} To use it too: gpus: {{after_memory_errors: use}} in settings.yaml."
    text = {"lost": "lost: ", "failing": "fails: "}.get(gpu.fault, "") + gpu.trouble
    return (warning if gpu.fault == "unreadable" else trouble)(f"GPU {gpu.index}", text, fix)


def kernels_can_be_built() -> Iterator[Finding]:
    """Report what Triton lacks to compile GPU kernels at first use."""
    if lacks := compiler.triton_lacks():
        text = f"lacks {lacks}: losses are slower, and liger, flex and train.compile can't be used"
        yield warning("compiler", text, compiler.fix())
