"""Judges whether the installed torch can use this machine's GPUs, without importing torch or initialising CUDA here.

    python -m finetop.core.runtime.torch_fits

starts CUDA's driver in a process of its own, which may hang or crash, and prints the driver's answer.
"""

from __future__ import annotations

import ast
import ctypes
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from finetop.core.errors import InstallationTrouble
from finetop.core.runtime import causes, gpus, processes
from finetop.core.runtime.gpu import Gpu, GpuReading, is_named

VISIBLE = "CUDA_VISIBLE_DEVICES"
HIDES_ALL = ("", "-1", "NoDevFiles")
DRIVER = "libcuda.so.1"
MISSING = "missing"
START_S = 30.0  # eight GPUs without persistence mode take 10 to 20 s
OLDEST_OF_CUDA_13 = (7, 5)  # compute capability; a V100 has 7.0, a P100 6.0
FOR_CUDA = "Install torch built for CUDA: https://pytorch.org/get-started."
INSTALL = (
    "Install NVIDIA's driver with its tools; for a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility."
)
ON_CPU = "To compute on the CPU instead, set budget.gpus to 0."
# the driver's answers: what they mean and what to do
REFUSALS = {
    2: ("the GPU has no memory left to start CUDA", "End what uses it: see finetop gpus."),
    46: ("another process has the GPU for itself (compute mode)", causes.SHARED_MODE),
    100: ("CUDA sees no GPU", "In a container, pass the GPUs on: docker run --gpus all."),
    802: ("the fabric manager has not set up the GPUs", causes.FABRIC),
    803: ("the driver's library and its kernel module differ in version", causes.RELOAD),
    804: (
        "a compatibility library (cuda-compat) comes before the driver's, and this GPU does not support that",
        causes.COMPAT,
    ),
    999: (
        "CUDA can't start: most often nvidia_uvm is not loaded, or /dev/nvidia-uvm is missing",
        causes.UVM,
    ),
}


@dataclass(frozen=True)
class Misfit:
    """Why torch can't use a GPU, and how to fix it."""

    text: str
    fix: str


@dataclass(frozen=True)
class Build:
    """The installed torch: its version, and the CUDA or ROCm version that it was built for."""

    version: str
    cuda: str = ""
    hip: str = ""


def misfits(reading: GpuReading, cards: Sequence[Gpu]) -> list[Misfit]:
    """Return why torch can't use these cards, or some of them; the driver is started if one fits by its version."""
    build = built_for()
    if build is None:
        return []
    by_card = [_by_version(build, reading, card) for card in cards]
    found = list(dict.fromkeys(fault for fault in by_card if fault is not None))
    if None in by_card and build.cuda and reading.cuda and (refusal := driver_refusal()) is not None:
        return [*found, refusal]
    return found


def misfit(reading: GpuReading, cards: Sequence[Gpu]) -> Misfit | None:
    """Return why torch can use none of these cards, or None if it can use one."""
    build = built_for()
    fit = [card for card in cards if build is not None and _by_version(build, reading, card) is None]
    found = misfits(reading, fit or cards)
    return found[0] if found else None


def _by_version(build: Build, reading: GpuReading, card: Gpu) -> Misfit | None:
    torch = f"torch {build.version}"
    if not build.cuda and not build.hip:
        return Misfit(f"{torch} is built without CUDA: jobs would compute on the CPU", FOR_CUDA)
    if not build.cuda and reading.cuda:
        return Misfit(f"{torch} is built for ROCm, and the GPU is NVIDIA's", FOR_CUDA)
    wanted, offered = build.cuda.partition(".")[0], reading.cuda.partition(".")[0]
    if not wanted.isdecimal():
        return None
    if offered.isdecimal() and int(wanted) > int(offered):
        limit = f"driver {reading.driver} supports up to {reading.cuda}"
        fix = f"Update the driver, or install torch built for CUDA {offered}."
        return Misfit(f"{torch} needs CUDA {wanted}, but {limit}", fix)
    if int(wanted) >= 13 and card.capability is not None and card.capability < OLDEST_OF_CUDA_13:
        major, minor = card.capability
        text = f"{torch} is built for CUDA {wanted}, which has no code for {card.name} ({major}.{minor})"
        return Misfit(text, "Install torch built for CUDA 12: https://pytorch.org/get-started.")
    return None


def refusal(cards: Sequence[Gpu], found: Misfit) -> InstallationTrouble:
    """Return the error of a job that has or would get one of these cards."""
    return InstallationTrouble(
        f"{cards[0].name or 'the GPU'} can't be used: {found.text}.", hint=f"{found.fix} {ON_CPU}"
    )


def require_no_gpu(ask_torch: Callable[[], str]) -> None:
    """Raise InstallationTrouble if this process was given a GPU; `ask_torch` returns why torch finds none."""
    visible = os.environ.get(VISIBLE)
    if visible is not None and visible.strip() in HIDES_ALL:
        return
    reading = gpus.read_once()
    names = None if visible is None else [name.strip() for name in visible.split(",")]
    fit = [gpu for gpu in reading.gpus if not gpu.fault]
    cards = [gpu for gpu in fit if names is None or any(is_named(gpu, name) for name in names)]
    if cards:
        raise refusal(cards, misfit(reading, cards) or Misfit(ask_torch(), "See finetop doctor."))


def built_for() -> Build | None:
    """Read what the installed torch was built for from its version file; None without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    values = dict(re.findall(r"^(\w+)(?:: [^=]+)? = (.+)$", text, re.MULTILINE))
    told = {key: ast.literal_eval(values.get(key, "None")) or "" for key in ("__version__", "cuda", "hip")}
    return Build(told["__version__"], told["cuda"], told["hip"])


def driver_refusal() -> Misfit | None:
    """Return why CUDA's driver does not start; None if it does, or does not answer in time."""
    try:
        done = subprocess.run(
            processes.python(__name__), capture_output=True, text=True, timeout=START_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    code, _, name = done.stdout.strip().partition(" ")
    if code == MISSING:
        return Misfit(f"{DRIVER} is missing, so CUDA can't start", INSTALL)
    if not code.isdecimal() or code == "0":
        return None
    text, fix = REFUSALS.get(int(code), ("CUDA can't start", "See `nvidia-smi` and `dmesg | grep -i nvrm`."))
    return Misfit(f"{text} ({name or 'error'} {code})", fix)


def main() -> None:
    """Start CUDA's driver and print its answer: a code, and the code's name."""
    try:
        library = ctypes.CDLL(DRIVER)
        code, name = library.cuInit(0), ctypes.c_char_p()
        with suppress(AttributeError):
            library.cuGetErrorName(code, ctypes.byref(name))
        print(code, (name.value or b"").decode())
    except (OSError, AttributeError):
        print(MISSING)


if __name__ == "__main__":
    main()
