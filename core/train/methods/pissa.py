"""PiSSA: LoRA initialised at the largest singular directions of each weight (arXiv:2404.02948), the base untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.methods import Method
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, Rank, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


ROUNDS = 16  # iterations of the randomised SVD, as in the paper's section 5.4


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is pissa."""

    rank: Rank = 16
    alpha: Alpha = 16.0
    svd: Annotated[
        Literal["fast", "exact"],
        Meta(description="SVD algorithm; fast is approximate and takes a fraction of the time."),
    ] = "fast"
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class Pissa(Method[Options]):
    about = "LoRA initialised with each weight's principal singular directions: learns faster"
    options = Options
    bounded_rank = True
    quantized = ("none", "nf4")
    not_quantized = "PEFT can't read the lengths of int8 weights"

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        """Wrap the model with an adapter initialised to each weight's largest singular directions."""
        from finetop.core.train.methods._anchored import NAME, anchor

        self.require(model, options)
        init = "pissa" if options.svd == "exact" else f"pissa_niter_{ROUNDS}"
        return anchor(model, options, lambda layer: layer.pissa_init(NAME, init))


PLUGIN = Pissa()
