"""L2-SP: each step pulls the weights back to where they began (Li et al. 2018, arXiv:1802.01483).

Adds weight / 2 * |w - w0|^2 over the trained weights to the loss, so that its gradient is weight * (w - w0), and keeps
w0: as many bytes again as the trained weights. With LoRA it applies to the model's weights W, not to the matrices
beside them: W - W0 = s B A, whose squared norm is s^2 sum((B^T B) * (A A^T)). So nothing is kept, and the penalty is
exactly that of full tuning; weight decay of A and B would limit their own norms instead. For other adapters it applies
to the adapter's own weights, which begin where the base is unchanged. Not decoupled: the penalty's gradient is clipped
and scaled by the optimizer with the rest, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.recipe.protections import Memory, Sizes
from finetop.core.train.protections import Acting, Protection, zero_if_none

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.l2_sp:`."""

    weight: Annotated[
        float,
        Meta(
            ge=0, le=1e6, description="Weight of the L2 pull to the starting weights: 0.001 to 1; 0 for none."
        ),
    ] = 0.0


@dataclass(frozen=True)
class Pair:
    """The two matrices of a LoRA layer: first [rank, in], second [out, rank]; modules with a `weight`."""

    first: Any
    second: Any
    scale: float


class L2Sp(Protection[Options]):
    about = "penalise the distance of the weights from where they started"
    options = Options
    short = "weight"
    steps = True

    def memory(self, options: Options, sizes: Sizes) -> Memory:
        """Return the bytes of the weights' copies: an upper bound for LoRA, which needs none."""
        return Memory(on_device=sizes.moving * sizes.weight_bytes)

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        pairs = list(pairs_of(setup.model))
        parts = [part for pair in pairs for part in (pair.first, pair.second)]
        of_pairs = {id(weight) for part in parts for weight in part.parameters()}
        moving = [weight for weight in setup.model.parameters() if weight.requires_grad]
        held = [(weight, weight.detach().clone()) for weight in moving if id(weight) not in of_pairs]

        def gradients(scale: float) -> dict[str, Any]:
            whole = pull(held, options.weight * scale) + pull_products(pairs, options.weight * scale)
            return {"protect_l2": whole / scale}

        size = sum(start.numel() * start.element_size() for _, start in held) / 1e6
        about = [f"the product of {len(pairs)} pairs of LoRA's matrices, no copies"] * bool(pairs)
        about += [f"{len(held)} weights, {size:,.1f} MB of their starting values"] * bool(held)
        return Acting(" and ".join(about), gradients=gradients)


def pull(held: list[tuple[Any, Tensor]], weight: float) -> Any:
    """Add weight * (w - w0) to the gradients, one weight at a time; return weight / 2 * |w - w0|^2."""
    import torch

    total: Any = 0.0
    with torch.no_grad():
        for moving, start in held:
            away = moving - start
            zero_if_none(moving).add_(away, alpha=weight)
            total = total + weight / 2 * away.float().square().sum()
    return total


def pull_products(pairs: list[Pair], weight: float) -> Any:
    """Add the gradient of weight / 2 * |s B A|^2 to those of B and A; return that sum. B A itself is never computed."""
    total: Any = 0.0
    for pair in pairs:
        first, second = pair.first.weight.float(), pair.second.weight.float()
        total = total + pair.scale**2 * ((second.T @ second) * (first @ first.T)).sum()
    if not pairs:
        return 0.0
    whole = weight / 2 * total
    whole.backward()
    return whole.detach()


def pairs_of(model: Any) -> Iterator[Pair]:
    """Yield the layers whose weight changes by s B A alone: LoRA on linear layers, without DoRA's magnitudes."""
    from peft.tuners.lora import LoraLayer

    for layer in model.modules():
        if not isinstance(layer, LoraLayer):
            continue
        for name in layer.active_adapters:
            first: Any = dict(layer.lora_A.items()).get(name)
            is_flat = getattr(getattr(first, "weight", None), "ndim", 0) == 2  # false for AdaLoRA and others
            moves = is_flat and any(w.requires_grad for w in first.parameters())
            if moves and name not in layer.lora_magnitude_vector:
                yield Pair(first, layer.lora_B[name], float(layer.scaling[name]))


PLUGIN = L2Sp()
