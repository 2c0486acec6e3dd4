"""KL to the base: in each step, stay near the base's predictions on other text (distillation, arXiv:1606.09282).

Adds weight * KL(base || now) to the loss, in nats per token, on one window of a fixed pool, drawn by the seed. The
base's predictions for the pool are stored once, before the first step, in 16 bits on the host: windows * tokens *
vocabulary * 2 bytes (201 MB for 16 windows of 128 tokens and 49,152 words), whatever the model's size; there is no
second copy of the model, and a step reads `tokens` more tokens. Whole distributions are kept, not only the likeliest
words: what is forgotten first is in the tail.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.recipe.protections import Memory, Sizes
from finetop.core.train.protections import Acting, Protection

if TYPE_CHECKING:
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.kl_to_base:`."""

    weight: Annotated[
        float, Meta(ge=0, le=1000, description="Weight of the KL penalty: 0.1 to 10 is usual; 0 for none.")
    ] = 0.0
    on: Annotated[
        Literal["general", "rows"],
        Meta(description="general: general text, as in the check; rows: the training rows."),
    ] = "general"
    text: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4096)] | None,
        Meta(description="A .txt file used instead of the suite's general text.", extra={"path": "file"}),
    ] = None
    tokens: Annotated[
        int, Meta(ge=8, le=1024, description="Tokens per window; each step reads one window.")
    ] = 128
    windows: Annotated[int, Meta(ge=1, le=10_000, description="Windows in the pool.")] = 16


class KlToBase(Protection[Options]):
    about = "keep the model near the base's distribution on other text; adds a short text to each step"
    options = Options
    short = "weight"
    needs_text = True
    steps = True

    def limits(self, recipe: Any, options: Options) -> Iterator[tuple[str, str, str]]:
        """Refuse a text that would not be read."""
        if options.text is not None and options.on == "rows":
            key = "protect.kl_to_base.text"
            hint = f"Set {key} to null, or protect.kl_to_base.on to general."
            yield key, f"{key} is not read: on is rows.", hint

    def paths(self, options: Options) -> Iterator[tuple[str, str]]:
        if options.text is not None:
            yield "protect.kl_to_base.text", options.text

    def memory(self, options: Options, sizes: Sizes) -> Memory:
        """Return the bytes of the pool, and of one window's logits and their gradient."""
        window = options.tokens * sizes.vocabulary
        return Memory(on_device=window * (2 * sizes.weight_bytes + 2), on_host=2.0 * window * options.windows)

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        """Store the base's predictions for the pool. Raises BadInput if there is no text for it."""
        import torch

        from finetop.core.train.protections import _text

        pool = _pool(options, setup)
        with _text.as_base(setup.model):
            kept = [_text.log_probs(setup.model, ids).to(torch.float16).cpu() for ids in pool]
        size = sum(log_probs.numel() for log_probs in kept) * 2 / 1e6
        model, seed = setup.model, setup.recipe.train.seed

        def gradients(scale: float) -> dict[str, Any]:
            at = window_of(trainer.state.global_step, len(pool), seed)
            devices = [model.device] if model.device.type == "cuda" else []
            with torch.random.fork_rng(devices), trainer.compute_loss_context_manager():
                ids = torch.tensor([pool[at]], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, -len(pool[at]) : -1]
                kl = _text.divergence(logits, kept[at].to(model.device))
            (options.weight * scale * kl).backward()
            return {"protect_kl": kl.detach()}

        about = f"{len(pool)} windows of {options.tokens} tokens, {size:,.1f} MB of the base's probabilities for them"
        return Acting(about, gradients=gradients)


def window_of(step: int, windows: int, seed: int) -> int:
    """Return the window that a step reads: each once, then again, in orders drawn by the seed, as after resuming."""
    turn, at = divmod(step, windows)
    return random.Random(f"{seed}-{turn}").sample(range(windows), windows)[at]


def _pool(options: Options, setup: Setup) -> list[list[int]]:
    from finetop.core.train.protections import _text

    if options.on == "general":
        return _text.windows_of("protect.kl_to_base", options, setup)
    texts = [[token for tokens, _ in example.runs() for token in tokens] for example in setup.train]
    texts = [text[: options.tokens] for text in texts if len(text) > 1]
    if not texts:
        raise BadInput("protect.kl_to_base: no training row has two tokens.", hint="Set on to general.")
    return random.Random(setup.recipe.train.seed).sample(texts, min(options.windows, len(texts)))


PLUGIN = KlToBase()
