"""The number formats that llama.cpp writes: their names here, its numbers for them, and bytes per weight."""

from __future__ import annotations

from typing import NamedTuple

from finetop.core.errors import BadInput, did_you_mean
from finetop.core.text import quoted


class Quant(NamedTuple):
    number: int  # llama.cpp's
    bytes: float  # per weight, about: embeddings and heads keep more


QUANTS = {
    "f32": Quant(0, 4.0),
    "f16": Quant(1, 2.0),
    "bf16": Quant(32, 2.0),
    "q8_0": Quant(7, 1.07),
    "q6_k": Quant(18, 0.83),
    "q5_k_m": Quant(17, 0.72),
    "q5_k_s": Quant(16, 0.70),
    "q4_k_m": Quant(15, 0.62),
    "q4_k_s": Quant(14, 0.59),
    "q4_0": Quant(2, 0.58),
    "q3_k_m": Quant(12, 0.50),
    "q2_k": Quant(10, 0.40),
}
ALL = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m")  # what `all` compares
DEFAULT = "f16"
MOST_BYTES = 1.35  # of a small model, whose large embedding keeps more bits


def quants_of(text: str) -> list[str]:
    """Read `q8_0`, `f16,q4_k_m` or `all`. Raises BadInput."""
    names = list(ALL) if text.strip().lower() == "all" else []
    for part in text.lower().split(",") if not names else ():
        if (name := part.strip()) not in QUANTS:
            hint = did_you_mean(name[:60], [*QUANTS, "all"])
            raise BadInput(f"--quant: {quoted(name[:60])} is not a number format.", hint=hint)
        names.append(name)
    return list(dict.fromkeys(names))
