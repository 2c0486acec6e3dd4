"""The language-model head on a CPU, for TRL's trainers: labelled positions only, in one pass over their logits.

Without Triton, TRL scores padding and prompts too, and computes every logit again for the gradient, in float32: on a
CPU that was 53 % of a LoRA step of SmolLM2-135M (profiled, bfloat16). Here the gradient of each position's
log-probability is computed while its logits are at hand, and only scaled later; a matrix product adds up in float32
and rounds once. TRL's own code handles the cases that this can't: a head that is trained itself, capped logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

POSITIONS = 256  # logits held at once: 50 MB in float32 for 49,152 words
KNOWN = {"log_probs", "entropy", "mean_logits", "is_top1"}


def install() -> None:
    """Make TRL's trainers in this process, which has no GPU, score this way. Does nothing if TRL's internals differ."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer import utils

    if hasattr(utils, "_use_triton") and hasattr(utils, "_ChunkedLogProbFunction"):
        # TRL checks only this to decide whether to skip positions without a label
        utils._use_triton = lambda device: True  # noqa: SLF001  # TRL calls it
        utils._ChunkedLogProbFunction = Choice(ChunkedLogProbFunction)  # noqa: SLF001  # TRL calls it


class Choice:
    """Replaces TRL's function: one pass where that works, else TRL's own."""

    def __init__(self, otherwise: Any) -> None:
        self.otherwise = otherwise

    def apply(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        scale: float = 1.0,
        outputs: tuple[str, ...] = (),
    ) -> Any:
        """Score positions: hidden [positions, width], weight [words, width], targets [positions].

        Return, each [positions]: log-probabilities, entropy, None, mean logit, whether the target is the likeliest.
        """
        held = (weight,) if bias is None else (weight, bias)
        learns = torch.is_grad_enabled() and any(part.requires_grad for part in held)
        if learns or softcap is not None or not set(outputs) <= KNOWN:
            given = (hidden, weight, bias, targets, temperature, chunk_size, softcap, scale, outputs)
            return self.otherwise.apply(*given)
        return OnePass.apply(
            hidden, weight, bias, targets, temperature, scale, outputs, self.otherwise, chunk_size
        )


class OnePass(torch.autograd.Function):  # type: ignore[misc]  # the library is untyped
    """Log-probabilities of targets, with d(log p) / d(hidden) = (W[target] - softmax(z) W) x scale / temperature."""

    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        scale: float,
        outputs: tuple[str, ...],
        otherwise: Any,
        chunk_size: int,
    ) -> tuple[Tensor | None, ...]:
        context.set_materialize_grads(False)
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        head, factor, count = weight.to(dtype), scale / temperature, len(hidden)
        log_probs, entropy, mean = (hidden.new_empty(count, dtype=torch.float32) for _ in range(3))
        is_top = torch.empty(count, dtype=torch.bool, device=hidden.device)
        slopes = torch.empty_like(hidden, dtype=torch.float32) if context.needs_input_grad[0] else None
        for at in range(0, count, POSITIONS):
            here = slice(at, at + POSITIONS)
            target = targets[here]
            logits = torch.mm(hidden[here].to(dtype), head.t())
            if bias is not None:
                logits += bias.to(dtype)
            z = logits.float()
            if factor != 1.0:
                z *= factor
            highest, likeliest = z.max(-1)
            z -= highest[:, None]
            odds = z.exp()
            total = odds.sum(-1)
            log_probs[here] = z.gather(1, target[:, None])[:, 0] - total.log()
            is_top[here] = likeliest == target
            if "mean_logits" in outputs:
                mean[here] = z.mean(-1) + highest
            if "entropy" in outputs:
                entropy[here] = total.log() - torch.linalg.vecdot(odds, z) / total
            if slopes is not None:
                expected = torch.mm(odds.to(dtype), head).float() / total[:, None]
                slopes[here] = (head[target].float() - expected) * factor
        if slopes is not None:
            context.save_for_backward(slopes, hidden, weight, bias, targets)
        context.again = (otherwise, temperature, chunk_size, scale)
        optional = [is_top if "is_top1" in outputs else None, mean if "mean_logits" in outputs else None]
        context.mark_non_differentiable(*(output for output in optional if output is not None))
        return log_probs, entropy if "entropy" in outputs else None, None, optional[1], optional[0]

    @staticmethod
    def backward(context: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        """Scale the gradient of the forward pass; add the entropy's, if the loss uses it, computed by TRL."""
        slopes, hidden, weight, bias, targets = context.saved_tensors
        gradient = None
        if given[0] is not None:
            gradient = (slopes * given[0].float()[:, None]).to(hidden.dtype)
        if given[1] is not None:
            more = _entropy_gradient(context.again, hidden, weight, bias, targets, given[1])
            gradient = more if gradient is None else gradient + more
        return gradient, *[None] * 8


def _entropy_gradient(
    again: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, given: Tensor
) -> Tensor:
    otherwise, temperature, chunk_size, scale = again
    with torch.enable_grad():
        start = hidden.detach().requires_grad_()
        scores = otherwise.apply(
            start, weight, bias, targets, temperature, chunk_size, None, scale, ("entropy",)
        )
        return torch.autograd.grad(scores[1], start, given)[0]
