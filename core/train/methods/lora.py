"""LoRA: small low-rank matrices beside frozen weights (arXiv:2106.09685), with PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import lora_config, require_parameters, wrap
from finetop.core.train.methods._settings import (
    LORA,
    Alpha,
    Dropout,
    ModulesToSave,
    Rank,
    Rslora,
    TargetModules,
    TargetParameters,
)
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is lora."""

    rank: Rank = 16
    alpha: Alpha = 32.0
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    target_parameters: TargetParameters = ()
    rslora: Rslora = False
    modules_to_save: ModulesToSave = ()


class Lora(Method[Options]):
    about = "low-rank adapters: few weights, one GPU, easy to remove"
    any_size = True
    options = Options
    spelled = {**LORA, "rslora": "use_rslora", "target_parameters": "target_parameters"}

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Check that the modules and weights which the options name are in the model. Raises BadInput."""
        super().require(model, options)
        require_parameters(model, options.target_parameters)
        if options.target_parameters and options.dropout:
            message = f"method.dropout: {options.dropout} does not work with method.target_parameters."
            raise BadInput(message, hint="Set it to 0: a weight has no inputs to drop.")

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        """Wrap the model with a fresh adapter, which alone is trainable and at the start changes nothing."""
        self.require(model, options)
        more = {"target_parameters": list(options.target_parameters)} if options.target_parameters else {}
        return wrap(model, lora_config(options, use_rslora=options.rslora, **more))


PLUGIN = Lora()
