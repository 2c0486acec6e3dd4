"""LoRA: small low-rank matrices beside frozen weights (arXiv:2106.09685), by PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.train.methods._adapter import lora_config, require_modules, wrap
from finetop.core.train.methods._settings import (
    LORA,
    Alpha,
    Dropout,
    ModulesToSave,
    Rank,
    Rslora,
    TargetModules,
)
from finetop.core.train.methods._start import ALL_FORMATS, Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ABOUT = "few weights, one GPU, easy to undo"
QUANTIZED = ALL_FORMATS
KEEPS_BASE = True
MERGES = True
require = require_modules
spelled = {**LORA, "rslora": "use_rslora"}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is lora."""

    rank: Rank = 16
    alpha: Alpha = 32.0
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    rslora: Rslora = False
    modules_to_save: ModulesToSave = ()


def prepare(model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
    """Wrap the model with a fresh adapter: it alone is trainable, and at the start it changes nothing.

    Raises BadInput if a named module is not in the model.
    """
    require(model, options)
    return wrap(model, lora_config(options, use_rslora=options.rslora))
