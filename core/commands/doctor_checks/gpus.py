"""The GPUs: whether the driver answers and fits torch, which GPUs are unfit, and whether kernels can be compiled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from finetop.core.commands.doctor_checks import Finding, ok, trouble, warning
from finetop.core.runtime import compiler, gpus
from finetop.core.runtime.gpu import Gpu, GpuReading

RELOAD = "After a driver's update reboot, or reload it: modprobe -r nvidia_uvm nvidia && modprobe nvidia."
INSTALL = (
    "Install NVIDIA's driver with its tools; for a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility."
)
RESET = "See `dmesg | grep -i xid`, then nvidia-smi --gpu-reset -i {index}, or reboot. Jobs use the others."
OLDEST_OF_CUDA_13 = (7, 5)  # compute capability; a V100 has 7.0, a P100 6.0
RUNTIMES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")  # torch's packages of CUDA 13 and 12


def gpu_findings() -> Iterator[Finding]:
    reading = gpus.read_once()
    devices = list(Path("/dev").glob("nvidia[0-9]*"))
    if reading.trouble:
        yield trouble("GPU", reading.trouble, RELOAD)
    elif reading.gpus:
        yield ok("GPU", gpu_summary(reading))
        yield from (unfit(gpu) for gpu in reading.gpus if gpu.fault)
        yield from torch_fits(reading)
        yield from kernels_can_be_built()
        if not gpus.sees_all_processes():
            text = "in a container: memory used by others is visible, but maybe not who uses it"
            yield ok("GPU", text)
    elif devices:
        text = f"{len(devices)} in /dev, but {gpus.LIBRARY} shows none: the driver is incomplete"
        yield trouble("GPU", text, INSTALL)
    else:
        yield ok("GPU", f"none found; {os.cpu_count()} CPU cores")


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
    text = {"lost": "lost: ", "failing": "fails: "}.get(gpu.fault, "") + gpu.trouble
    return (warning if gpu.fault == "unreadable" else trouble)(f"GPU {gpu.index}", text, fix)


def torch_fits(reading: GpuReading) -> Iterator[Finding]:
    """Report if the installed torch can't use this driver: judged by package versions, nothing is imported."""
    version = version_of("torch")
    if "+cpu" in version:
        text = f"torch {version} is built without CUDA: jobs would train on the CPU"
        yield trouble("GPU", text, "Install torch built for CUDA: https://pytorch.org/get-started.")
    runtime = next(filter(None, (version_of(name) for name in RUNTIMES)), "")
    wanted, offered = runtime.partition(".")[0], reading.cuda.partition(".")[0]
    if wanted.isdecimal() and offered.isdecimal() and int(wanted) > int(offered):
        limit = f"driver {reading.driver} supports up to {reading.cuda}"
        fix = f"Update the driver, or install torch built for CUDA {offered}."
        yield trouble("GPU", f"torch {version} needs CUDA {wanted}, but {limit}", fix)
    old = [gpu for gpu in reading.gpus if gpu.capability is not None and gpu.capability < OLDEST_OF_CUDA_13]
    if wanted.isdecimal() and int(wanted) >= 13 and old:
        major, minor = old[0].capability or (0, 0)
        text = f"torch {version} is built for CUDA {wanted}, which has no code for {old[0].name} ({major}.{minor})"
        yield trouble("GPU", text, "Install torch built for CUDA 12: https://pytorch.org/get-started.")


def kernels_can_be_built() -> Iterator[Finding]:
    """Report what Triton lacks to compile GPU kernels at first use."""
    if lacks := compiler.triton_lacks():
        text = f"lacks {lacks}: losses are slower, and liger, flex and train.compile can't be used"
        yield warning("compiler", text, compiler.fix())


def version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
