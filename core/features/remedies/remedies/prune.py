"""Drop part of the update: in every tensor the smallest half of its entries, or a random half.

By size: the smallest entries go back to the base's value, the rest stays. At random: each entry stays with a
probability of 1/2 and is then doubled, so that the expected update is the whole one (DARE, Yu et al. 2023,
arXiv:2311.03099). The draw is seeded by the tensor's name, and made on the CPU: the same on every device.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.features.remedies.messages import Candidate
from finetop.core.features.remedies.remedies import Remedy, Subject
from finetop.core.models.resolved import ResolvedModel

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.check.model_pair import Change

KEPT = 0.5
_ABOUT = {"small": "smaller half pruned", "random": "random half pruned"}


class Prune(Remedy):
    about = "drops half of the change: its smallest entries, or random ones with the rest doubled"
    cost = "reading the base's weights once"
    most = 2

    def candidates(self, subject: Subject) -> list[Candidate]:
        """Return two candidates: by size and at random."""
        return [
            Candidate(f"prune-{by}", "prune", _ABOUT[by], subject.step, settings, subject.no_weights)
            for by in ("small", "random")
            for settings in ({"by": by, "kept": KEPT},)
        ]

    def change(self, candidate: Candidate, base: ResolvedModel, checkpoint: Path) -> Change:
        from finetop.core.check.model_pair import Change
        from finetop.core.features.remedies.weights import changed

        by, kept = str(candidate.settings["by"]), float(candidate.settings["kept"])

        def mix(name: str, before: Tensor, after: Tensor) -> Tensor:
            moves = after - before
            return before + (largest(moves, kept) if by == "small" else drawn(moves, kept, name))

        facts = {"name": "prune", "by": by, "kept": kept}
        return Change(facts, True, lambda model: changed(model, base, mix))


def largest(moves: Tensor, kept: float) -> Tensor:
    """Keep the largest share of a tensor's entries; entries tied at the bound are dropped."""
    sizes = moves.abs().flatten()
    dropped = sizes.numel() - round(kept * sizes.numel())
    if not dropped:
        return moves
    bound = sizes.kthvalue(dropped).values
    return moves.where(moves.abs() > bound, 0.0)


def drawn(moves: Tensor, kept: float, name: str) -> Tensor:
    """Keep a random share of a tensor's entries, scaled up to preserve the expected sum."""
    import hashlib

    import torch

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    stays = torch.rand(moves.shape, generator=torch.Generator().manual_seed(seed)) < kept
    return moves.where(stays.to(moves.device), 0.0) / kept


PLUGIN = Prune()
