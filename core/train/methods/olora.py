"""OLoRA: LoRA initialised at orthogonal directions of each weight (arXiv:2406.01775), the base untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import adapted
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, Rank, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is olora."""

    rank: Rank = 16
    alpha: Alpha = 16.0
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class Olora(Method[Options]):
    about = "LoRA initialised with orthogonal directions of each weight (QR): learns faster"
    options = Options
    bounded_rank = True
    quantized = ("none", "nf4")
    not_quantized = "PEFT can't read the lengths of int8 weights"

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Require a rank that fits, and layers that PEFT can read: none is transposed, as in GPT-2. Raises BadInput."""
        super().require(model, options)
        layers = adapted(model, options.target_modules)
        turned = next((path for path, module in layers if not hasattr(module, "in_features")), None)
        if turned is not None:
            name = turned.rpartition(".")[2]
            message = f"method: olora does not work on {name}, whose matrix is transposed."
            raise BadInput(message, hint="Use pissa, or lora.")

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        """Wrap the model with an adapter initialised to the first directions of each weight's QR decomposition."""
        from finetop.core.train.methods._anchored import NAME, anchor

        self.require(model, options)
        return anchor(model, options, lambda layer: layer.olora_init(NAME))


PLUGIN = Olora()
