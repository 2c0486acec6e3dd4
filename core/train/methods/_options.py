"""The settings of the methods in the table (_table.py): one struct each, with the usual defaults."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.methods._settings import (
    BlockDropout,
    BlockSize,
    Dropout,
    ModulesToSave,
    Rank,
    TargetModules,
    VirtualTokens,
)

Text = Annotated[str, Meta(min_length=1, max_length=1000)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the settings under `method:`: frozen, unknown keys are refused."""


class RsloraOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is rslora."""

    rank: Rank = 64
    alpha: Annotated[
        float, Meta(gt=0, le=65536, description="Strength: scales the update by alpha / sqrt(rank).")
    ] = 16.0
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class OftOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is oft."""

    block_size: BlockSize = 32
    exact: Annotated[
        bool, Meta(description="Exact rotations by matrix inversion; false: a five-term series, faster.")
    ] = False
    dropout: BlockDropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class BoftOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is boft."""

    block_size: BlockSize = 4
    factors: Annotated[
        int,
        Meta(ge=1, le=16, description="Butterfly factors; each doubles the inputs that a rotation mixes."),
    ] = 1
    dropout: BlockDropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class Ia3Options(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is ia3."""

    target_modules: Annotated[
        Literal["auto"] | tuple[str, ...],
        Meta(description="Modules to scale; auto knows the usual architectures (keys, values, MLP)."),
    ] = "auto"
    feedforward_modules: Annotated[
        tuple[str, ...],
        Meta(description="Those of target_modules whose inputs, not outputs, are scaled: [down_proj]."),
    ] = ()
    modules_to_save: ModulesToSave = ()


class VeraOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is vera."""

    rank: Annotated[
        int, Meta(ge=1, le=16384, description="Rank of the shared random matrices. 256 to 1024 is usual.")
    ] = 256
    initial: Annotated[
        float, Meta(gt=0, le=10, description="Initial value of the scaling vector after the first matrix.")
    ] = 0.1
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class OsfOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is osf."""

    kept: Annotated[
        float,
        Meta(
            gt=0,
            lt=1,
            description="Share of each matrix's singular directions, largest first, that stay frozen.",
        ),
    ] = 0.5
    target_modules: TargetModules = "all-linear"


class ShiraOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is shira."""

    rank: Annotated[
        int, Meta(ge=1, le=4096, description="Trains as many weights as LoRA of this rank has.")
    ] = 32
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class HraOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is hra."""

    rank: Annotated[
        int, Meta(ge=2, le=4096, multiple_of=2, description="Reflections per layer; an even number.")
    ] = 8
    orthogonal: Annotated[
        bool, Meta(description="Keep the reflections orthogonal (Gram-Schmidt); slower.")
    ] = False
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class LayernormOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is layernorm."""

    target_modules: Annotated[
        Literal["auto"] | tuple[str, ...], Meta(description="Names of the norms; auto: all of them.")
    ] = "auto"
    modules_to_save: ModulesToSave = ()


class PromptTuningOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is prompt-tuning."""

    tokens: VirtualTokens = 20
    text: Annotated[
        Text | None, Meta(description="Text to initialise the tokens from; null for random words.")
    ] = None


class PTuningOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is p-tuning."""

    tokens: VirtualTokens = 20
    encoder: Annotated[Literal["mlp", "lstm"], Meta(description="The network that produces the tokens.")] = (
        "mlp"
    )
    hidden: Annotated[int, Meta(ge=1, le=65536, description="Hidden size of that network.")] = 128
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout of the LSTM.")] = 0.0


class PrefixTuningOptions(Settings, frozen=True, kw_only=True):
    """Settings under `method:` when its name is prefix-tuning."""

    tokens: VirtualTokens = 20
