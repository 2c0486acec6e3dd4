"""A model on this machine: its folder, where it came from, and the hash of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from finetop.core.models.shape import Shape


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine: a folder with its configuration, tokenizer and safetensors."""

    id: str  # as the recipe names it
    path: Path
    hub_id: str | None  # None for a local folder, which has no revision either
    revision: str | None  # the hub's commit
    source: str  # "hub, commit 12fd25f", "local folder" …
    weights_hash: str  # sha256 over the safetensors
    trust_remote_code: bool = False
    chat_template: str | None = None  # replaces the tokenizer's own
    quantize: str = "none"  # format of its linear layers


class Moving(msgspec.Struct, frozen=True):
    """How many numbers a model has and how many are trained; None if only the weights themselves would show it."""

    parameters: int | None = None
    trainable: int | None = None
    experts: int = 0  # numbers in a mixture's experts without any trained weight
    shape: Shape | None = None  # of the model without the method
