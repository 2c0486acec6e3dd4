"""Supervised fine-tuning: learn to give the answers of the training rows."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ABOUT = "learn the answers of example conversations"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is sft."""

    loss: Annotated[
        Literal["answers", "all"],
        Meta(
            description="Which tokens are learned: answers (the assistant's), or all (the user's words too)."
        ),
    ] = "answers"
    packing: Annotated[
        bool, Meta(description="Put several short rows into one sequence: faster, the same loss.")
    ] = False
    neftune_alpha: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(
            description="Noise on the embeddings in training (arXiv:2310.05914), 5 is usual; null for none."
        ),
    ] = None
