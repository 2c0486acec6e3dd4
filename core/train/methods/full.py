"""Full tuning: every weight of the model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.train.methods import Method
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Full tuning has no settings of its own."""


class Full(Method[Options]):
    about = "trains all weights: the most change, the most memory"
    any_size = True
    options = Options
    quantized = ("none",)
    not_quantized = "quantized weights can't take small steps"
    keeps_base = False

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PreTrainedModel:
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model


PLUGIN = Full()
