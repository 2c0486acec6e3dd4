"""LoRA+: LoRA whose second matrix learns faster than its first (arXiv:2402.12354)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import lora_config, wrap
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, Rank, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.optim import Optimizer
    from transformers import PreTrainedModel, TrainingArguments


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is lora-plus."""

    rank: Rank = 16
    alpha: Alpha = 32.0
    dropout: Dropout = 0.0
    ratio: Annotated[
        float,
        Meta(
            ge=1, le=1000, description="Learning rate of the second matrix, as a multiple of learning_rate."
        ),
    ] = 16.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class LoraPlus(Method[Options]):
    about = "LoRA with a higher learning rate for the second matrix: fewer steps to the same loss"
    any_size = True
    options = Options

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        self.require(model, options)
        return wrap(model, lora_config(options))

    def optimizer(self, model: Any, options: Options, arguments: TrainingArguments) -> Optimizer:
        """Build the recipe's optimizer with two rates: learning_rate, and `ratio` times it for second matrices."""
        from transformers import Trainer

        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
        rate, decay = arguments.learning_rate, arguments.weight_decay
        second: list[Any] = []
        others: list[Any] = []
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                (second if "lora_B" in name else others).append(weight)
        rates = ((others, rate), (second, rate * options.ratio))
        groups = [{"params": weights, "lr": lr, "weight_decay": decay} for weights, lr in rates]
        return kind(groups, **settings)


PLUGIN = LoraPlus()
