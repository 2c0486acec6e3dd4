"""Remove intruder dimensions: directions that tuning has added, unlike any of the base's.

For each matrix, the TOP largest singular directions of the tuned weights are compared; one whose left vector has a
cosine below COSINE with every left singular vector of the base's weights is an intruder (Shuttleworth et al. 2024,
arXiv:2410.21228, who see forgetting go with them), and its share s u v^T is scaled by `scale`. Only matrices of linear
layers: embeddings and the head have one row per token. Both decompositions are exact, in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.features.remedies.messages import Candidate
from finetop.core.features.remedies.remedies import Remedy, Subject
from finetop.core.models.resolved import ResolvedModel

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.check.model_pair import Change

TOP = 10
COSINE = 0.5


class Intruders(Remedy):
    about = "removes intruder dimensions: singular directions that tuning added, unlike any of the base's"
    cost = "two singular value decompositions of every matrix"
    most = 1

    def candidates(self, subject: Subject) -> list[Candidate]:
        """Return one candidate: all intruder dimensions removed."""
        label, settings = "intruder dimensions removed", {"scale": 0.0, "top": TOP, "cosine": COSINE}
        return [Candidate("intruders", "intruders", label, subject.step, settings, subject.no_weights)]

    def change(self, candidate: Candidate, base: ResolvedModel, checkpoint: Path) -> Change:
        """Return the change, which notes how many there were. Raises Unchanged if there is none."""
        from finetop.core.check.model_pair import Change
        from finetop.core.features.remedies.weights import Unchanged, changed

        settings = {key: float(value) for key, value in candidate.settings.items()}
        notes: list[str] = []

        def make(model: Any) -> Any:
            counts: list[int] = []

            def mix(name: str, before: Tensor, after: Tensor) -> Tensor:
                top, cosine, scale = int(settings["top"]), settings["cosine"], settings["scale"]
                new_weights, count = without_intruders(before, after, top, cosine, scale)
                counts.append(count)
                return new_weights

            whole = changed(model, base, mix, matrices_alone=True)
            touched = sum(1 for count in counts if count)
            if not touched:
                raise Unchanged(f"none of its {len(counts)} changed matrices has an intruder dimension.")
            of_all = f"{touched:,} of {len(counts):,} changed matrices"
            notes.append(f"{sum(counts):,} intruder dimensions in {of_all}")
            return whole

        return Change({"name": "intruders", **settings}, True, make, notes)


def without_intruders(
    before: Tensor, after: Tensor, top: int, cosine: float, scale: float
) -> tuple[Tensor, int]:
    """Scale the intruders of a matrix [out, in]. Returns the matrix and how many there were."""
    import torch

    base_vectors = torch.linalg.svd(before, full_matrices=False).U
    left, values, right = torch.linalg.svd(after, full_matrices=False)
    alike = (base_vectors.T @ left[:, :top]).abs().amax(0)
    intruders = (alike < cosine).nonzero()[:, 0]
    share = (left[:, intruders] * values[intruders]) @ right[intruders]
    return after - (1 - scale) * share, len(intruders)


PLUGIN = Intruders()
