"""Frozen layers: the named layers keep their weights, whatever the method trains elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.train.methods import LEARNED_TOKENS
from finetop.core.train.protections import Acting, Protection

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup


Layers = tuple[Annotated[int, Meta(ge=0, le=9999)], ...]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.freeze_layers:`."""

    layers: Annotated[Layers, Meta(description="Layers to freeze, by number; 0 is the first.")] = ()
    embeddings: Annotated[bool, Meta(description="Freeze the embeddings.")] = False


class FreezeLayers(Protection[Options]):
    about = "freeze some layers: takes less memory and time"
    options = Options
    short = "layers"
    steps = True

    def is_on(self, options: Options) -> bool:
        return bool(options.layers) or options.embeddings

    def limits(self, recipe: Recipe, options: Options) -> Iterator[tuple[str, str, str]]:
        """Refuse a layer that is named twice, and methods that train no layers."""
        key = "protect.freeze_layers"
        twice = next((n for n in options.layers if options.layers.count(n) > 1), None)
        if twice is not None:
            hint = f"Set {key}.layers to {sorted(set(options.layers))}."
            yield key, f"{key} names layer {twice} twice.", hint
        if recipe.method.name in LEARNED_TOKENS:
            name = recipe.method.name
            message = f"{key}: {name} trains no layer; it trains virtual tokens before the text."
            yield key, message, f"Set {key} to null."

    def require(self, config: Any, options: Options) -> None:
        """Check that the named layers exist. Raises BadInput."""
        count = int(config.get_text_config().num_hidden_layers)
        wrong = next((n for n in options.layers if n >= count), None)
        if wrong is not None:
            message = f"protect.freeze_layers: there is no layer {wrong}; the model has {count}."
            raise BadInput(message, hint=f"Name layers from 0 to {count - 1}.")

    def hold(self, options: Options, model: Any) -> None:
        """Take the layers' weights, and an adapter's in them, out of what moves. Raises BadInput if none is left."""
        frozen = 0
        for weight in weights_of(options, model):
            frozen += weight.numel() * weight.requires_grad
            weight.requires_grad_(False)
        left = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        if not left:
            raise BadInput("protect.freeze_layers: nothing is left to train.", hint="Name fewer layers.")
        print(f"protect.freeze_layers: {frozen:,} of {frozen + left:,} weights are frozen")

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        """Keep them so: an adapter switched off and on begins to move again, and would count in the clipping."""

        staying = weights_of(options, setup.model)

        def gradients(scale: float) -> dict[str, Any]:
            for weight in staying:
                weight.grad = None
            return {}

        named = [str(number) for number in options.layers] + ["the embeddings"] * options.embeddings
        return Acting(f"layers {', '.join(named)} stay", gradients=gradients)


def weights_of(options: Options, model: Any) -> list[Any]:
    """Return the weights that are frozen."""
    from finetop.core.train.methods.freeze import layers_of

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    stack = layers_of(inner)
    staying = [weight for number in options.layers for weight in stack[number].parameters()]
    if options.embeddings:
        staying += list(inner.get_input_embeddings().parameters())
    return staying


PLUGIN = FreezeLayers()
