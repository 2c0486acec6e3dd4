"""Instruction-following difficulty: rows whose answer is hard for the base model though it has the instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.select import Choice

if TYPE_CHECKING:
    from finetop.core.select._pool import Pool

ABOUT = "instruction-following difficulty (IFD): loss with the instruction over loss without, highest below 1 first"
PAPER = "Li et al. 2023, From Quantity to Quality, arXiv:2308.12032"
NEEDS_MODEL = True
LIMIT = 1.0  # from here on the instruction makes the answer no likelier: they do not belong together


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It has no settings."""


def choose(pool: Pool, options: Options, seed: int) -> Choice:
    """Order rows by the ratio of the two losses, the highest first; those from 1 on may not be taken."""
    ratios = [
        None if with_it is None or not without else with_it / without
        for with_it, without in zip(pool.losses(), pool.losses(with_prompt=False), strict=True)
    ]
    helped = [(ratio, place) for place, ratio in enumerate(ratios) if ratio is not None and ratio < LIMIT]
    order = [place for _, place in sorted(helped, key=lambda pair: (-pair[0], pair[1]))]
    may = "have an instruction that makes their answer likelier (a ratio below 1)"
    return Choice(order, ratios, "loss with the instruction / loss without", may)
