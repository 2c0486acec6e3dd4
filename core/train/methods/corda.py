"""CorDA: LoRA initialised where little, or much, flows through each layer (arXiv:2406.05223), the base untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import lora_config, names_of
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, Rank, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is corda."""

    rank: Rank = 16
    alpha: Alpha = 16.0
    keep: Annotated[
        Literal["knowledge", "nothing"],
        Meta(
            description="Start where general text flows least (knowledge) or your rows flow most (nothing)."
        ),
    ] = "knowledge"
    texts: Annotated[
        int, Meta(ge=1, le=4096, description="Texts run through the model to find those directions.")
    ] = 64
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class Corda(Method[Options]):
    about = "LoRA initialised along the directions that general text uses least, or your rows use most"
    options = Options
    bounded_rank = True
    quantized = ("none",)
    not_quantized = "it decomposes each matrix by its inputs, which needs unquantized weights"

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        """Run texts through the model; wrap it with an adapter that starts where they flow least, or most."""
        from peft.tuners.lora.config import CordaConfig

        from finetop.core.train.methods._anchored import NAME, anchor

        self.require(model, options)
        texts = list(texts_of(options, start))[: options.texts]
        if not texts:
            hint = (
                "Set method.keep to nothing, which uses your rows, or give check.general a suite with text."
            )
            raise BadInput("method.keep: there is no general text to read.", hint=hint)
        method = "kpm" if options.keep == "knowledge" else "ipm"  # the paper's names
        targets, settings = names_of(model, options.target_modules), CordaConfig(corda_method=method)
        more = {"init_lora_weights": "corda", "target_modules": targets, "corda_config": settings}
        config = lora_config(options, **more)
        if model.device.type != "meta":  # in a rehearsal nothing can be computed
            was_training = model.training
            begin(model, config, texts)
            model.train(was_training)
        return anchor(model, options, lambda layer: layer.corda_init(NAME, "corda"))


def begin(model: PreTrainedModel, config: LoraConfig, texts: Sequence[Sequence[int]]) -> None:
    """Compute where each layer's adapter begins, and store it on the layer as PEFT's `corda_init` expects it.

    The same as PEFT's `preprocess_corda`, which keeps the full results of all layers until the last is done: 630 MB for
    SmolLM2-135M, besides 520 MB of covariances. Here each result is cut to the rank at once, and its covariances freed.
    """
    from peft.tuners.lora import corda

    settings: Any = config.corda_config
    chosen = slice(None, config.r) if settings.corda_method == "ipm" else slice(-config.r, None)
    corda.calib_cov_distribution(model, config, lambda: run(model, texts), None, None)
    for _, layer in corda.target_modules(model, config):
        eigens = corda.collect_eigens_for_layer(layer, config)
        layer.eigens = corda.CordaEigens(
            S_WC=eigens.S_WC[chosen].clone(),
            U_WC=eigens.U_WC[:, chosen].clone().to(model.device),
            V_WC=eigens.V_WC[:, chosen].clone().to(model.device),
        )
        del layer.covariance_matrix, layer.sample_count


def texts_of(options: Options, start: Start) -> Sequence[Sequence[int]]:
    """Return the calibration texts: the suite's general text, or the training rows."""
    return start.general() if options.keep == "knowledge" else start.examples


def run(model: Any, texts: Sequence[Sequence[int]]) -> None:
    """Run texts through the model one at a time: padding would distort the sums."""
    import torch

    with torch.no_grad():
        for ids in texts:
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)


PLUGIN = Corda()
