"""What a method may look at when it begins, and the number formats that a base can be held in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Quantize = Literal["none", "nf4", "int8"]
ALL_FORMATS: tuple[Quantize, ...] = ("none", "int8", "nf4")


@dataclass(frozen=True)
class Start:
    """What a method may look at when it begins: rows and text as token ids, and where the base's weights lie."""

    seed: int = 1
    examples: Sequence[Sequence[int]] = ()  # training rows
    general: Callable[[], Sequence[Sequence[int]]] = tuple  # windows of the suite's general text
    pad_token_id: int | None = None
    quantize: Quantize = "none"
    base_path: Path | None = None  # the folder of the base's safetensors
