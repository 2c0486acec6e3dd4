"""Which device and number format to compute with; freeing a device's memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from finetop.core.models import config_file
from finetop.core.recipe.number_format import chosen
from finetop.core.runtime import amd_gpus, cgroups, gpu_share, gpus, torch_fits
from finetop.core.runtime.gpu import computes_in_bfloat16

ROUNDS_TO_TF32 = ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE")
SHARE_OF_GPU = 0.9  # of its free memory, that a model's weights may take


def scoring_dtype(wanted: str, folder: Path, device: str) -> str:
    """Return the number format to score in: float32, or on a GPU float16, for a 16-bit one that the device lacks.

    The measurement for training (cpu_formats.py) is not used: kept scores must stay valid from boot to boot.
    """
    import torch

    dtype = number_format(wanted, folder, device)
    if dtype == "bfloat16" and not has_bfloat16(device):
        return "float16"  # for base and tuned model alike
    no_half = device == "cpu" and not torch.ops.mkldnn._is_mkldnn_fp16_supported()  # noqa: SLF001  # no public name
    return "float32" if dtype == "float16" and no_half else dtype


def device_kind(device: str) -> str:
    """Return what determines a device's last digits: the GPU's model, or the CPU's instruction set and threads."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    if device == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return device


def free_memory(device: str) -> None:
    """Release freed memory to the device."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def free_bytes(device: str) -> float | None:
    """Return the free bytes on a GPU, within this process's limit; None for other devices."""
    import torch

    if not device.startswith("cuda"):
        return None
    free, most = float(torch.cuda.mem_get_info(device)[0]), gpu_share.limit().gib
    return free if most is None else min(free, most * 2**30 - torch.cuda.memory_reserved(device))


def place_for(size: float, device: str) -> str:
    """Return the device for a model of so many bytes, or auto: as much as fits on the GPU, the rest on the CPU."""
    room = free_bytes(device)
    return device if room is None or size < SHARE_OF_GPU * room else "auto"


def energy_counter(device: str) -> Callable[[], float | None]:
    """Return a function that reads the joules that a GPU has used so far, or None if its driver does not count.

    A MIG instance has no counter of its own, and its GPU's covers other jobs too.
    """
    import torch

    if not device.startswith("cuda"):
        return lambda: None
    if torch.version.hip is not None:
        return _amd_energy(device)
    nvml = gpus.load()
    if nvml is None or "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        return lambda: None
    return gpus.energy_counter(nvml, f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def _amd_energy(device: str) -> Callable[[], float | None]:
    import torch

    amdsmi = amd_gpus.load()
    try:
        handle = None if amdsmi is None else torch.cuda._get_amdsmi_handler(torch.device(device))  # noqa: SLF001  # no public name
    except Exception:  # the library has no closer base class; a sensor must not end training
        handle = None
    return (lambda: None) if handle is None else amd_gpus.energy_counter(amdsmi, handle)


def memory_of(device: str, limit_gib: float | None = None) -> float | None:
    """Return the bytes that a device has, or that a job may use on a GPU; None if unknown."""
    import torch

    if device == "cpu":
        return float(cgroups.total_memory())
    if not device.startswith("cuda"):
        return None
    total = float(torch.cuda.get_device_properties(device).total_memory)
    return total if limit_gib is None else min(total, limit_gib * 2**30)


def open_device(limit_gib: float | None, number: int = 0, libraries: Iterable[str] = ()) -> str:
    """Import the job's libraries, choose its device, and limit its share of a GPU's memory; None for no limit.

    Products in float32 are exact, whatever the environment says; training allows less.
    """
    import_libraries(*libraries)
    multiply_exactly()
    device = pick_device(number)
    if limit_gib is not None and device.startswith("cuda"):
        keep_to(limit_gib, device)
    return device


def multiply_exactly() -> None:
    """Round no float32 product to TF32 (10 bits): vendors' containers set a variable that has torch do so."""
    import torch

    for name in ROUNDS_TO_TF32:
        if os.environ.get(name) != "0":
            os.environ.pop(name, None)  # cuBLAS reads its own at its first product, a child such as vLLM both
    torch.set_float32_matmul_precision("highest")


def keep_to(limit_gib: float | None, device: str) -> None:
    """Limit this process's GPU memory from now on; None for no limit. The allocator frees its cache, then fails."""
    import torch

    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    share = 1.0 if limit_gib is None else min(1.0, limit_gib / total)
    torch.cuda.set_per_process_memory_fraction(share, device)


@contextmanager
def without_cuda() -> Iterator[None]:
    """Make libraries inside read the GPUs from NVML, so that CUDA, and with it the GPU, is not initialised.

    On import, bitsandbytes counts the GPUs and reads their capabilities; an optimizer asks whether its step is being
    captured: torch 2.13 asks the current stream, for which CUDA is initialised; older ones ask CUDA itself. If NVML
    can't tell (MIG instances), the driver is asked, which allocates nothing.
    """
    import torch

    switch = "PYTORCH_NVML_BASED_CUDA_CHECK"
    ask, is_capturing = torch.cuda.get_device_capability, torch.cuda.is_current_stream_capturing
    stream = torch.accelerator.current_stream
    known = {gpu.uuid: gpu.capability for gpu in gpus.read_once().gpus}
    before = os.environ.get(switch)
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]

    def capability_of(device: Any = None) -> tuple[int, int]:
        place = torch.cuda._get_device_index(device) if device is not None else 0  # noqa: SLF001  # no public name
        capability = known.get(named[place]) if place < len(named) else None
        return ask(device) if capability is None else capability

    torch.cuda.get_device_capability, torch.cuda.is_current_stream_capturing = capability_of, lambda: False
    torch.accelerator.current_stream = lambda *_: SimpleNamespace(is_capturing=lambda: False)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        torch.cuda.get_device_capability, torch.cuda.is_current_stream_capturing = ask, is_capturing
        torch.accelerator.current_stream = stream
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def import_libraries(*names: str) -> None:
    """Import PEFT, bitsandbytes and `names` at once: a job starts 3 s of CPU time earlier than with lazy imports.

    bitsandbytes asks torch to compile four functions, for devices without its own kernels: they run uncompiled there,
    and the compiler is not imported (2 s). Imported objects live as long as the process: they are excluded from garbage
    collection, now (1 s) and whenever training frees memory (0.4 s each time).
    """
    import torch

    compiler = torch.compile
    torch.compile = lambda given=None, **_: given or (lambda function: function)
    gc.disable()
    try:
        with suppress(ImportError, OSError, RuntimeError):  # whoever needs it gets the error
            for name in ("bitsandbytes", "peft", *names):
                import_module(name)
    finally:
        torch.compile = compiler
        gc.freeze()
        gc.enable()


def pick_device(number: int = 0) -> str:
    """Return the device to compute on: CUDA GPU `number` (one per rank), else Apple's GPU, else the CPU.

    Raises InstallationTrouble if this process has a GPU that torch can't use.
    """
    import torch

    if torch.cuda.is_available():
        return f"cuda:{number}"
    if torch.backends.mps.is_available():
        return "mps"
    torch_fits.require_no_gpu(_why_no_cuda)
    return "cpu"


def _why_no_cuda() -> str:
    import torch

    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return "torch finds no GPU"


def describe_device(device: str) -> str:
    """Return a device's displayed name: 'cuda:0 NVIDIA H100', 'cpu'."""
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 instructions; torch's kernels exist without them, but are slow."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(next(lines, "").split())


def has_bfloat16(device: str) -> bool:
    """Return whether a device computes in bfloat16; torch's kernels exist even where it does not."""
    if device == "cpu":
        return cpu_has_bfloat16()
    if not device.startswith("cuda"):
        return True
    import torch

    if torch.version.hip or not torch.cuda.is_available():
        return True
    return computes_in_bfloat16(torch.cuda.get_device_capability(device))


def number_format(
    wanted: str, folder: Path | None, device: str, *, bfloat16_there: bool | None = None
) -> str:
    """Return the number format for the model in `folder`, by the rules of core/recipe/number_format.py.

    `bfloat16_there` is given for a device of another process; None: this process's device is checked.
    """
    saved = "saved" if folder is None else saved_in(folder)
    supported = has_bfloat16(device) if bfloat16_there is None else bfloat16_there
    return chosen(wanted, saved, on_cpu=device == "cpu", has_bfloat16=supported)


def saved_in(folder: Path) -> str:
    """Return the number format that a model was saved in, from its config.json."""
    config = config_file.read(folder / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")
