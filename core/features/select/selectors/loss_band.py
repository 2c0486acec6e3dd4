"""Rows whose loss under the base model is in the middle: neither known already nor noise."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.features.select.pool import Pool
from finetop.core.features.select.selectors import Choice, Selector


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the band lies. Its width follows from the number of rows requested."""

    centre: Annotated[
        float, Meta(ge=0, le=1, description="Where the band's middle lies: 0 the lowest loss, 1 the highest.")
    ] = 0.5


class LossBand(Selector[Options]):
    about = "the middle of the base model's loss on the answer: neither known already nor noise"
    paper = "Marion et al. 2023, When Less is More, arXiv:2309.04564"
    needs_model = True
    options = Options

    def choose(self, pool: Pool, options: Options, seed: int) -> Choice:
        """Order rows by how far their loss stands from the band's middle, by rank; of two as far, the lower loss."""
        losses = pool.losses()
        known = [place for place, loss in enumerate(losses) if loss is not None]
        ranked = sorted(known, key=lambda place: (losses[place] or 0.0, place))
        middle = options.centre * (len(ranked) - 1)
        order = sorted(range(len(ranked)), key=lambda rank: (abs(rank - middle), rank))
        return Choice([ranked[rank] for rank in order], losses, "nats/token of the answer", "can be scored")


PLUGIN = LossBand()
