"""Methods: which weights are trained. One file each, and a table of those that differ only in PEFT's class."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any

from finetop.core.models.resolved import Moving, ResolvedModel
from finetop.core.plugins import METHODS, MethodFacts, Options, PluginKind
from finetop.core.train.methods import _adapter, _start

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.optim import Optimizer
    from transformers import PreTrainedModel, TrainerCallback, TrainingArguments


class Method(MethodFacts[Options]):
    """Decides which weights are trained: a file, or a row of the table."""

    quantized = _start.ALL_FORMATS
    bounded_rank = False  # an adapted layer must have as many directions as the rank

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Require that the settings fit a model without weights. Raises BadInput."""
        require = _adapter.require_rank if self.bounded_rank else _adapter.require_modules
        require(model, options)

    @abstractmethod
    def prepare(
        self, model: PreTrainedModel, options: Options, start: _start.Start
    ) -> PreTrainedModel | PeftModel:
        """Return the model with the right weights trainable. Raises BadInput for an option that does not fit it."""

    def optimizer(self, model: Any, options: Options, arguments: TrainingArguments) -> Optimizer | None:
        """Build an optimizer to replace the trainer's; None to keep the trainer's."""
        return None

    def callbacks(self, options: Options) -> list[TrainerCallback]:
        """Return the transformers callbacks that it needs."""
        return []


KIND: PluginKind[Method[Any]] = METHODS.of(Method)
names, load = KIND.names, KIND.load
LEARNED_TOKENS = ("prompt-tuning", "p-tuning", "prefix-tuning")  # with virtual tokens before the text


def rehearse(name: str, options: Any, base: ResolvedModel) -> Moving:
    """Apply a method to the shape of a base before its weights are loaded, to refuse early what does not fit.

    The model is built from its config.json without memory for its weights; the result is incomplete for a method that
    reads the weights themselves. Raises BadInput.
    """
    import torch

    from finetop.core.models import load as models, shape as shapes

    method = load(name)
    with torch.device("meta"):
        model = models.shape_of(base)
        parameters = sum(weight.numel() for weight in model.parameters())
        shape = shapes.read(model)
        experts = Counter[str]()
        for path, weight in model.named_parameters():
            if ".experts." in path:
                experts[path.partition(".experts.")[0] + ".experts."] += weight.numel()
        method.require(model, options)
        start = _start.Start(
            general=lambda: [[0]], examples=[[0]], pad_token_id=0, quantize=base.quantize, base_path=base.path
        )
        try:
            wrapped = method.prepare(model, options, start)
        except (RuntimeError, OSError):  # it reads weights, which have no values here, or a tokenizer's files
            return Moving(parameters, shape=shape)
    moving = {path: weight.numel() for path, weight in wrapped.named_parameters() if weight.requires_grad}
    still = sum(count for module, count in experts.items() if not any(module in path for path in moving))
    return Moving(parameters, sum(moving.values()), still, shape)
