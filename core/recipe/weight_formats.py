"""The formats of a base's weights that a recipe may name, the fewest bits first (core/models/weight_formats)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from finetop.core.plugins import WEIGHT_FORMATS

load = WEIGHT_FORMATS.load
NAMES = tuple(sorted(WEIGHT_FORMATS.names(), key=lambda name: load(name).bits))

if TYPE_CHECKING:
    Quantize = str
else:
    Quantize = Literal[NAMES]
