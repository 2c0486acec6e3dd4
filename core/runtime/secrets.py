"""Secrets stay in the environment: what looks like one is refused before it is kept with a run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST = 12  # characters; a shorter value of the environment may stand in a text by chance
_NAMED = re.compile(r"(?<![a-z])(token|api_?key|secret|password|passwd|credentials?)$", re.IGNORECASE)
_NO_SECRETS = frozenset({"eos_token", "pad_token", "bos_token", "unk_token", "mask_token", "image_token"})
_SHAPES = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})"),
    "an AWS key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a Weights & Biases key": re.compile(r"(?i)wandb[_-]?(?:api[_-]?)?key\W{1,5}[0-9a-f]{40}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@]{4,}@"),
}
HINT = "Set it in the environment (HF_TOKEN …), where finetop starts, and take it out of the recipe."


def is_secret_name(name: str) -> bool:
    """Say if a setting or a variable of this name holds a secret."""
    return _NAMED.search(name) is not None and name not in _NO_SECRETS


def require_none(text: str, place: str) -> None:
    """Refuse a text that holds a secret: of a known shape, or the value of one in the environment.

    Raises BadInput, which does not repeat it.
    """
    if what := find(text):
        raise BadInput(f"{place} holds {what}; it is not kept with a run.", hint=HINT)


def find(text: str) -> str:
    """Say which secret a text holds, without repeating it; nothing if it holds none that one can see."""
    found = locate(text)
    return "" if found is None else found.what


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in a text: its line, from 1, and what it is in words that do not repeat it."""

    line: int
    what: str


def locate(text: str) -> Secret | None:
    """Find a secret in a text: of a known shape, or the value of one in the environment."""
    for what, shape in _SHAPES.items():
        if seen := shape.search(text):
            return Secret(_line(text, seen.start()), f"what looks like {what}")
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and is_secret_name(name) and value in text:
            return Secret(_line(text, text.index(value)), f"the value of {name}")
    return None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def require_no_setting(options: Mapping[str, object], place: str) -> None:
    """Refuse raw options that are secrets by their names. Raises BadInput."""
    for name, value in options.items():
        if value is not None and is_secret_name(name):
            raise BadInput(f"{place}.{name} is a secret, and is not kept with a run.", hint=HINT)
