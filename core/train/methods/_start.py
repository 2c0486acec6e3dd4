"""What a method may read when it is initialised, and the formats that a base can be quantized to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetop.core.recipe import weight_formats

ALL_FORMATS = (weight_formats.NAMES[0], *weight_formats.NAMES[:0:-1])  # whole, then the most bits first


@dataclass(frozen=True)
class Start:
    """What a method may read when it is initialised: rows and text as token ids, and the base's folder."""

    seed: int = 1
    examples: Sequence[Sequence[int]] = ()  # training rows
    general: Callable[[], Sequence[Sequence[int]]] = tuple  # windows of the suite's general text
    pad_token_id: int | None = None
    quantize: str = "none"
    base_path: Path | None = None  # the folder of the base's safetensors
