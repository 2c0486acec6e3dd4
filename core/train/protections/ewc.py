"""Elastic weight consolidation: hold most firmly the weights that the base's text needs most (arXiv:1612.00796).

Adds weight / 2 * sum(F * (w - w0)^2) to the loss, F the diagonal of the Fisher information on general text, in nats
per token: to second order that is weight * KL(base || now) per token there, weight by weight, without a forward pass
in the steps. F is the true Fisher, not the empirical one (arXiv:1905.12558): labels are drawn from the base's own
distribution. Then scores of different tokens have mean 0 and are uncorrelated, so the square of one window's summed
gradient is an unbiased estimate of the sum over its tokens, and one backward pass per window is enough.

It keeps F in bfloat16, whose range matters more than its precision, and a copy of the weights. Only for methods that
train the base's own weights: a LoRA starts with B = 0, so the Fisher information of A is 0 and useless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.recipe.protections import Memory, Sizes
from finetop.core.train import methods
from finetop.core.train.protections import Acting, Protection, zero_if_none

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup

FISHER_BYTES = 2


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.ewc:`."""

    weight: Annotated[
        float, Meta(ge=0, le=1e9, description="Weight of the EWC penalty: 100 to 10000 is usual; 0 for none.")
    ] = 0.0
    text: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4096)] | None,
        Meta(description="A .txt file used instead of the suite's general text.", extra={"path": "file"}),
    ] = None
    tokens: Annotated[int, Meta(ge=8, le=4096, description="Tokens per window.")] = 128
    windows: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Windows used to estimate the Fisher information before step 1."),
    ] = 24


class Ewc(Protection[Options]):
    about = "penalise moving the weights that general text needs most"
    options = Options
    short = "weight"
    needs_text = True
    steps = True

    def limits(self, recipe: Recipe, options: Options) -> Iterator[tuple[str, str, str]]:
        if methods.load(recipe.method.name).keeps_base:
            name = recipe.method.name
            message = f"protect.ewc protects the base's own weights, but {name} does not change them."
            hint = "Set method.name to full or freeze, or protect.ewc to null; protect.kl_to_base works with adapters."
            yield "protect.ewc", message, hint

    def paths(self, options: Options) -> Iterator[tuple[str, str]]:
        if options.text is not None:
            yield "protect.ewc.text", options.text

    def memory(self, options: Options, sizes: Sizes) -> Memory:
        """Return the bytes of the weights' copies and of their Fisher information."""
        return Memory(on_device=sizes.moving * (sizes.weight_bytes + FISHER_BYTES))

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        """Measure the Fisher information, and keep the starting weights. Raises BadInput if there is no text."""
        from finetop.core.train.protections import _text

        pool = _text.windows_of("protect.ewc", options, setup)
        moving = [weight for weight in setup.model.parameters() if weight.requires_grad]
        importance = fisher(setup.model, moving, pool, setup.recipe.train.seed)
        held = [(weight, weight.detach().clone(), f) for weight, f in zip(moving, importance, strict=True)]

        def gradients(scale: float) -> dict[str, Any]:
            return {"protect_ewc": pull(held, options.weight * scale) / scale}

        size = sum(start.numel() * (start.element_size() + FISHER_BYTES) for _, start, _ in held) / 1e6
        read = f"{len(pool)} windows of {options.tokens} tokens"
        about = f"Fisher information of {read}, {size:,.1f} MB with the starting weights"
        return Acting(about, gradients=gradients)


def fisher(model: Any, moving: Sequence[Any], pool: Sequence[Sequence[int]], seed: int) -> list[Tensor]:
    """Estimate each weight's diagonal Fisher information on windows of ids, in nats per token, in bfloat16."""
    import torch

    from finetop.core.train import check_callback

    totals = [torch.zeros_like(weight, dtype=torch.float32) for weight in moving]
    tokens = 0
    dice = torch.Generator().manual_seed(seed)  # on the host: the same labels on every device
    with check_callback.undisturbed(model, check_callback.own_forwards(model)):
        for ids in pool:
            read = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
            scores = torch.log_softmax(read.logits[0].float(), dim=-1)
            chances = scores.detach().exp().cumsum(-1)
            lots = torch.rand(len(ids), 1, generator=dice).to(chances.device) * chances[:, -1:]
            drawn = torch.searchsorted(chances, lots).clamp(max=chances.shape[1] - 1)
            gradients = torch.autograd.grad(scores.gather(1, drawn).sum(), moving, allow_unused=True)
            tokens += len(ids)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient.float().square_())
    return [(total / tokens).to(torch.bfloat16) for total in totals]


def pull(held: list[tuple[Any, Tensor, Tensor]], weight: float) -> Any:
    """Add weight * F * (w - w0) to the gradients, one weight at a time; return weight / 2 * sum(F * (w - w0)^2)."""
    import torch

    total: Any = 0.0
    with torch.no_grad():
        for moving, start, importance in held:
            away = (moving - start).float()
            pulled = away * importance
            zero_if_none(moving).add_(pulled, alpha=weight)
            total = total + weight / 2 * (pulled * away).sum()
    return total


PLUGIN = Ewc()
