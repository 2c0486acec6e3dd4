"""Full tuning: every weight of the model moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.train.methods._start import Quantize, Start

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ABOUT = "trains all weights: the most change, the most memory"
QUANTIZED: tuple[Quantize, ...] = ("none",)
NOT_QUANTIZED = "weights in fewer bits can't take small steps"
KEEPS_BASE = False
MERGES = True


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Full tuning has no settings of its own."""


def prepare(model: PreTrainedModel, options: Options, start: Start) -> PreTrainedModel:
    """Make every parameter trainable; the model itself is changed and given back."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model
