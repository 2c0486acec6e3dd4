"""A model that is on this machine: its folder, where it came from, and the hash of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True)
class ResolvedModel:
    """A model that is here: a folder with its configuration, tokenizer and safetensors."""

    id: str  # as the recipe names it
    path: Path
    hub_id: str | None  # None for a folder of this machine, then without a revision too
    revision: str | None  # the hub's commit
    source: str  # in words: "hub, commit 12fd25f", "local folder" …
    weights_hash: str  # sha256 over the safetensors
    trust_remote_code: bool = False
    chat_template: str | None = None  # replaces the tokenizer's own
    quantize: str = "none"  # how its linear layers are held


class Moving(msgspec.Struct, frozen=True):
    """How many numbers a model has and how many of them move; None where only the weights themselves would say."""

    parameters: int | None = None
    trainable: int | None = None
    experts: int = 0  # of them, in the experts of a mixture which nothing that moves lies beside
