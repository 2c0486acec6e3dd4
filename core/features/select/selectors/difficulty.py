"""Instruction-following difficulty: rows whose answer stays hard for the base model even with its instruction."""

from __future__ import annotations

from finetop.core.features.select.pool import Pool
from finetop.core.features.select.selectors import Choice, NoSettings, Selector

LIMIT = 1.0  # from here on the instruction makes the answer no likelier: they don't belong together


class Difficulty(Selector[NoSettings]):
    about = "instruction-following difficulty (IFD): loss with the instruction over loss without, highest below 1 first"
    paper = "Li et al. 2023, From Quantity to Quality, arXiv:2308.12032"
    needs_model = True
    options = NoSettings

    def choose(self, pool: Pool, options: NoSettings, seed: int) -> Choice:
        """Order rows by the ratio of the two losses, highest first; those from 1 on are not eligible."""
        pairs = zip(pool.losses(), pool.losses(with_prompt=False), strict=True)
        ratios = [None if before is None or not alone else before / alone for before, alone in pairs]
        helped = [(ratio, place) for place, ratio in enumerate(ratios) if ratio is not None and ratio < LIMIT]
        order = [place for _, place in sorted(helped, key=lambda pair: (-pair[0], pair[1]))]
        may = "have an instruction that makes their answer likelier (a ratio below 1)"
        return Choice(order, ratios, "loss with the instruction / loss without", may)


PLUGIN = Difficulty()
