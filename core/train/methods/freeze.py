"""Freezing: only the last layers are trained; saved as a full model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import head_of, is_classifier
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is freeze."""

    layers: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Number of layers to train, counted from the last; includes the final norm.",
        ),
    ] = 2
    embeddings: Annotated[bool, Meta(description="Train the input embeddings too.")] = False
    head: Annotated[bool, Meta(description="Train the output layer too.")] = False


class Freeze(Method[Options]):
    about = "trains only the last layers: less memory than full tuning, and less forgetting"
    options = Options
    quantized = ("none",)
    not_quantized = "quantized weights can't take small steps"
    keeps_base = False

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Check that there are that many layers, and a separate head if it is to be trained. Raises BadInput."""
        count = len(layers_of(model))
        if options.layers > count:
            message = f"method.layers: {options.layers} is more than the model's {count} layers."
            raise BadInput(message, hint=f"Set {count} or less.")
        if not (options.layers or options.embeddings or options.head):
            hint = "Set method.layers to 1 or more, or embeddings or head to true."
            message = "method.layers: 0 layers, no embeddings and no head: nothing would be trained."
            raise BadInput(message, hint=hint)
        is_tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
        if options.head != options.embeddings and is_tied:
            key = "head" if options.head else "embeddings"
            message = f"method.{key}: the model's output layer is its embeddings: train both, or neither."
            raise BadInput(message, hint="Set method.head and method.embeddings alike.")

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PreTrainedModel:
        """Freeze all but the last layers, the norm after them and what the options name, in the model itself."""
        self.require(model, options)
        model.requires_grad_(False)
        for moving in _moving(model, options):
            moving.requires_grad_(True)
        return model


def _moving(model: PreTrainedModel, options: Options) -> list[Any]:
    stack = layers_of(model)
    moving: list[Any] = list(stack)[len(stack) - options.layers :]
    if options.layers:
        moving += _after(model, stack)
    if options.embeddings:
        moving.append(model.get_input_embeddings())
    if options.head or is_classifier(model):  # a reward model's score layer is newly initialised
        moving.append(head_of(model))
    return moving


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Return the stack of the model's layers. Raises BadInput if it can't be identified."""
    from torch import nn

    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    hint = "Use lora or full."
    raise BadInput(f"method: freeze can't find the layers of {type(model).__name__}.", hint=hint)


def _after(model: PreTrainedModel, stack: nn.ModuleList) -> list[Any]:
    """Return what comes after the stack of layers in its parent module: the last norm."""
    for module in model.modules():
        children = list(module.children())
        if stack in children:
            behind = children[children.index(stack) + 1 :]
            return [child for child in behind if "norm" in type(child).__name__.lower()]
    return []


PLUGIN = Freeze()
