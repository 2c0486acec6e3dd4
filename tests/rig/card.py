"""The GPU that tests and measurements use: whether there is one, its number format, and how torch learns of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

Format = Literal["bfloat16", "float16"]


@lru_cache(maxsize=1)
def why_none() -> str:
    """Return why torch has no GPU here; empty if it has one. Imports torch."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"torch {torch.__version__} is built without CUDA"
    from finetop.core.runtime import gpus

    seen = gpus.read_once()
    reason = seen.trouble or (f"NVML sees {len(seen.gpus)}" if seen.gpus else "NVML sees none either")
    return f"torch {torch.__version__} sees no GPU ({reason})"


def number_format() -> Format:
    """Return the 16-bit format that the GPU has instructions for: a T4 or V100 has none for bfloat16."""
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
