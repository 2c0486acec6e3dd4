"""What to compute on and in which number format; memory given back to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.models import config_file

if TYPE_CHECKING:
    from pathlib import Path


def scoring_dtype(wanted: str, folder: Path, device: str) -> str:
    """Choose the number format to score in: the one to train in, but float32 for float16 on a CPU without it."""
    import torch

    chosen = number_format(wanted, folder, device)
    no_half = device == "cpu" and not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return "float32" if chosen == "float16" and no_half else chosen


def device_kind(device: str) -> str:
    """Name the kind of device as far as it can move the last digits.

    The GPU's model, or the CPU's arithmetic and threads.
    """
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    if device == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return device


def free_memory(device: str) -> None:
    """Release freed memory to the device."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def pick_device(number: int = 0) -> str:
    """Choose what to compute on: the first CUDA GPU (or of several ranks, each its own), else Apple's, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{number}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def describe_device(device: str) -> str:
    """Name a device for people: 'cuda:0 NVIDIA H100', 'cpu'."""
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device


def number_format(wanted: str, folder: Path | None, device: str) -> str:
    """Choose the number format to compute in: the recipe's, or with `auto` what the model in `folder` was saved in.

    A CPU without 16-bit arithmetic gets float32: it holds the same weights exactly, and multiplies them 7.7 times
    faster (74 GFLOP/s a core in float32, 9.5 in bfloat16, on AVX2).
    """
    import torch

    if wanted == "auto" and folder is not None:
        config = config_file.read(folder / "config.json")
        wanted = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if device == "cpu" and wanted == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "float32"
    return wanted
