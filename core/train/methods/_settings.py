"""Settings that several methods share, each with its type, range and one line of help."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Rank = Annotated[int, Meta(ge=1, le=4096, description="Rank of the added matrices. 8 to 64 is usual.")]
Alpha = Annotated[
    float,
    Meta(gt=0, le=65536, description="Strength: scales the update by alpha / rank. Often twice the rank."),
]
Dropout = Annotated[float, Meta(ge=0, lt=1, description="Dropout on the adapter's inputs.")]
TargetModules = Annotated[
    Literal["all-linear"] | tuple[str, ...],
    Meta(description="all-linear, or a list of module names such as [q_proj, v_proj]."),
]
TargetParameters = Annotated[
    tuple[str, ...],
    Meta(
        description="Fused weights to adapt as well, such as the experts of a mixture: "
        "[mlp.experts.gate_up_proj, mlp.experts.down_proj]."
    ),
]
ModulesToSave = Annotated[
    tuple[str, ...],
    Meta(description="Modules trained in full and saved with the adapter, such as [lm_head]."),
]
Rslora = Annotated[bool, Meta(description="Scale by alpha / sqrt(rank), for high ranks (arXiv:2312.03732).")]
BlockDropout = Annotated[
    float, Meta(ge=0, lt=1, description="Share of blocks left unrotated at random in training.")
]
VirtualTokens = Annotated[
    int, Meta(ge=1, le=4096, description="Virtual tokens before every text. 8 to 100 is usual.")
]
BlockSize = Annotated[
    int, Meta(ge=2, le=4096, description="Inputs per rotated block; must divide every layer's width.")
]

# PEFT's names of the settings common to all kinds of LoRA.
LORA = {
    "rank": "r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "target_modules": "target_modules",
    "modules_to_save": "modules_to_save",
}
