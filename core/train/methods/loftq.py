"""LoftQ: LoRA on nf4 weights, initialised to what the rounding took away (arXiv:2310.08659).

One round of the paper's alternation, so the quantized weights Q are those of every nf4 model here: W = Q + s B A, as
closely as rank r allows. PEFT's replace_lora_weights_loftq does the same but needs a GPU, and ignores the scale s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import lora_config, wrap
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, Rank, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is loftq."""

    rank: Rank = 16
    alpha: Alpha = 16.0
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class LoftQ(Method[Options]):
    about = "LoRA on nf4 weights, initialised to undo the quantization error"
    options = Options
    bounded_rank = True
    quantized = ("nf4",)
    not_quantized = "it restores what nf4 takes away"
    can_merge = False  # the adapter holds what nf4 took away: unquantized weights still have it

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        """Wrap a quantized model with an adapter initialised to the rounding error's largest directions.

        Raises BadInput for modules or a rank that do not fit the model, and if its unquantized weights are not found.
        """
        import torch

        from finetop.core.train.methods._anchored import require_matrices

        self.require(model, options)
        wrapped = wrap(model, lora_config(options))
        require_matrices(wrapped)
        inner = wrapped.get_base_model()
        whole = Whole(start.base_path, inner.base_model_prefix)
        for path, layer in inner.named_modules():
            if "default" in getattr(layer, "lora_A", ()) and not layer.weight.is_floating_point():
                first, second = restored(layer.get_base_layer(), whole.weight(path), options.rank)
                with torch.no_grad():
                    layer.lora_A["default"].weight.copy_(first / layer.scaling["default"])
                    layer.lora_B["default"].weight.copy_(second)
        return wrapped


def restored(base: Any, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A [rank, in] and B [out, rank] so that B A comes closest to weight - base, in float32."""
    import torch
    from peft.utils.integrations import dequantize_module_weight

    lost = weight.to(base.weight.device, torch.float32) - dequantize_module_weight(base).float()
    left, sizes, right = torch.linalg.svd(lost, full_matrices=False)
    roots = sizes[:rank].sqrt()
    return roots[:, None] * right[:rank], left[:, :rank] * roots


class Whole:
    """A base's unquantized weights, read from its files one at a time."""

    def __init__(self, folder: Path | None, prefix: str) -> None:
        from safetensors import safe_open

        from finetop.core.data.weight_files import weight_files

        self.prefix = f"{prefix}."
        self.file_of: dict[str, Any] = {}
        for file in weight_files(folder) if folder is not None else ():
            opened = safe_open(file, framework="pt", device="cpu")
            self.file_of.update(dict.fromkeys(opened.keys(), opened))  # type: ignore[no-untyped-call]

    def weight(self, path: str) -> Tensor:
        """Read the weight of a module. Raises BadInput if the files have none of that name."""
        for name in (f"{path}.weight", f"{path}.weight".removeprefix(self.prefix)):
            if name in self.file_of:
                read: Tensor = self.file_of[name].get_tensor(name)
                return read
        hint = "Use lora on nf4 (recipe qlora), which needs no unquantized weights."
        raise BadInput(f"method: loftq finds no {path}.weight in the base's files.", hint=hint)


PLUGIN = LoftQ()
