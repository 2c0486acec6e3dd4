"""Selective token masking: tokens that the base finds too unlikely are read but not learned (arXiv:2501.14315).

Before the first step the base reads every training row once; learned tokens whose perplexity, 1 / p(token), exceeds the
limit are removed from the loss. The paper's limit is 2.5. It changes the data once and costs nothing in the steps. It
masks what the base would never say: if teaching that is the goal, set the limit high or leave it out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.train import objectives
from finetop.core.train.protections import Protection

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.data.examples import AnyExample, Example
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.protections import Base


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.mask_surprising:`."""

    perplexity: Annotated[
        Annotated[float, Meta(gt=1, le=1e9)] | None,
        Meta(description="Skip tokens whose 1 / p under the base exceeds this, such as 2.5; null for none."),
    ] = None


class MaskSurprising(Protection[Options]):
    about = "skip tokens that the base finds too unlikely; scores the rows once before step 1"
    options = Options
    short = "perplexity"
    needs_text = True

    def limits(self, recipe: Recipe, options: Options) -> Iterator[tuple[str, str, str]]:
        """Refuse objectives that do not learn written texts token by token."""
        if objectives.load(recipe.objective.name).rows[0] not in ("conversation", "text"):
            key = "protect.mask_surprising"
            message = f"{key}: {recipe.objective.name} does not learn written answers token by token."
            yield key, message, f"Set {key} to null."

    def rows(self, options: Options, base: Base, train: list[AnyExample]) -> list[AnyExample]:
        """Mask the rows' labels and drop rows that have none left. Raises BadInput if no row is left."""
        from finetop.core.data.examples import Example
        from finetop.core.train.protections import _text

        assert options.perplexity is not None  # else the protection is off
        began = time.monotonic()
        given = [example for example in train if isinstance(example, Example)]
        assert len(given) == len(train)  # see limits
        unique = list({tuple(example.input_ids) for example in given})  # replayed rows may occur many times
        pad = base.tokenizer.pad_token_id or 0
        was_training = base.model.training
        base.model.eval()
        read = _text.surprise(base.model, unique, pad, base.events, "reading rows as the base")
        nats = dict(zip(unique, read, strict=True))
        base.model.train(was_training)
        kept: list[AnyExample] = []
        before = after = 0
        for example in given:
            masked = mask(example, nats[tuple(example.input_ids)], options.perplexity)
            before += example.answer_tokens
            after += masked.answer_tokens
            if masked.answer_tokens:
                kept.append(masked)
        share = 100 * (before - after) / max(1, before)
        print(
            f"protect.mask_surprising: {before - after:,} of {before:,} tokens ({share:.0f} %) have a perplexity over "
            f"{options.perplexity:g} and are not learned; {len(given) - len(kept)} rows have none left and are "
            f"dropped; {time.monotonic() - began:.1f} s",
            flush=True,
        )
        if not kept:
            raise _nothing_left(given, nats, options.perplexity)
        return kept


def _nothing_left(rows: list[Example], nats: dict[tuple[int, ...], Tensor], perplexity: float) -> BadInput:
    """Return the error of a limit under which no token is left, with one that would leave half of them."""
    from finetop.core.data.examples import IGNORED

    learned = sorted(
        float(nats[tuple(row.input_ids)][at - 1])
        for row in rows
        for at, label in enumerate(row.labels)
        if at and label != IGNORED
    )
    message = f"protect.mask_surprising.perplexity is {perplexity:g}, which leaves no row to train on"
    if not learned:
        return BadInput(f"{message}: no token of the rows is learned.", hint="Check data and objective.loss.")
    half = math.exp(learned[len(learned) // 2])
    message = f"{message}: the base finds all {len(learned):,} learned tokens less likely than that."
    return BadInput(message, hint=f"{half:.3g} would leave half of the tokens; null learns all of them.")


def mask(example: Example, nats: Tensor, perplexity: float) -> Example:
    """Ignore labels whose token has more than log(perplexity) nats under the base; nats [tokens - 1] lack the first."""
    from finetop.core.data.examples import IGNORED, Example

    limit = math.log(perplexity)
    labels = [
        label if at == 0 or nats[at - 1] <= limit else IGNORED for at, label in enumerate(example.labels)
    ]
    return Example(example.input_ids, labels, example.rewritten)


PLUGIN = MaskSurprising()
