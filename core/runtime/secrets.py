"""Secrets belong in the environment: text that seems to contain one is not stored with a run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from finetop.core.errors import BadInput
from finetop.core.runtime.patterns import hits_of

SHORTEST = 12  # characters; a shorter value of the environment may occur in a text by chance
_NAMED = re.compile(r"(?<![a-z])(token|api_?key|secret|password|passwd|credentials?)$", re.IGNORECASE)
_NO_SECRETS = frozenset({"eos_token", "pad_token", "bos_token", "unk_token", "mask_token", "image_token"})
# The pattern alone is enough for these, even for a placeholder: a recipe has no reason to contain one.
_BY_SHAPE = (
    *("Hugging Face token", "OpenAI key", "Anthropic key", "GitHub token", "AWS access key"),
    *("private key", "password in a URL"),
)
_WORDS = {
    "a service's key": "a service's key",
    "OpenAI key": "an API key",
    "Anthropic key": "an API key",
    "AWS access key": "an AWS key",
    "Authorization header": "an Authorization header",
    "password in a URL": "a password in an address",
}
MASK = "…"
_PLAIN = ("", MASK, "true", "false", "none", "null")
SENT_HINT = "Leave it out: a program reads it from the environment in which finetop was started."
HINT = "Set it in the environment (HF_TOKEN …), where finetop starts, and remove it from the recipe."


def is_secret_name(name: str) -> bool:
    """Return whether a setting or variable of this name holds a secret."""
    return _NAMED.search(name) is not None and name not in _NO_SECRETS


def require_none(text: str, place: str, hint: str = HINT) -> None:
    """Raise BadInput, which does not repeat it, if a text contains a secret."""
    if description := describe_secret(text):
        raise BadInput(f"{place} holds {description}; secrets are not stored with a run.", hint=hint)


def require_sendable(name: str, key: str) -> None:
    """Raise BadInput, which does not repeat it, if a variable's key can't be the value of an HTTP header."""
    bad = next((character for character in key if not "!" <= character <= "~"), "")
    if bad:
        hint = "Often it ends with the line end of a file: tr -d '[:space:]' < FILE."
        raise BadInput(f"the key in {name} has the character {bad!a}, which no key has.", hint=hint)


def describe_secret(text: str) -> str:
    """Describe the first secret in a text without repeating it; '' if there is none."""
    return "" if (secret := locate(text)) is None else secret.what


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in a text: its line, from 1, and a description that does not repeat it."""

    line: int
    what: str


def locate(text: str) -> Secret | None:
    """Find a secret in a text: a known pattern, or the value of one in the environment."""
    from finetop.core.runtime.secret_patterns import SECRETS  # 40 patterns, compiled only on use

    shapes = [s._replace(is_real=lambda _: True) if s.kind in _BY_SHAPE else s for s in SECRETS]
    if (hit := next(hits_of(shapes, text), None)) is not None:
        return Secret(_line(text, hit.start), f"what looks like {_WORDS.get(hit.kind, f'a {hit.kind}')}")
    return locate_value(text)


def locate_value(text: str) -> Secret | None:
    """Find the value of a secret in the environment, also as JSON writes it."""
    for name, value in values().items():
        for form in (value, json.dumps(value, ensure_ascii=False)[1:-1]):
            if form in text:
                return Secret(_line(text, text.index(form)), f"the value of {name}")
    return None


def values() -> dict[str, str]:
    """Return the variables of the environment that hold a secret."""
    return {
        name: value for name, value in os.environ.items() if len(value) >= SHORTEST and is_secret_name(name)
    }


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def require_no_setting(options: Mapping[str, object], place: str) -> None:
    """Raise BadInput if raw options have names of secrets."""
    for name, value in options.items():
        if value is not None and is_secret_name(name):
            raise BadInput(f"{place}.{name} is a secret; secrets are not stored with a run.", hint=HINT)


def require_no_option(words: Sequence[str], place: str) -> None:
    """Raise BadInput if an option of a command, or a variable set before it, is named as a secret and has a value."""
    for word, following in pairwise([*words, ""]):
        name, has_value, value = word.partition("=")
        if _is_secret_option(name, value if has_value else following if word.startswith("-") else ""):
            hint = "Set it in the environment (HF_TOKEN, WANDB_API_KEY …), where finetop starts, and leave it out."
            raise BadInput(f"{place}: {name} is a secret; secrets are not stored with a run.", hint=hint)


def masked(words: Sequence[str]) -> list[str]:
    """Return the words of a command with each secret replaced, for a command that somebody else started."""
    kept = []
    for before, word in pairwise(["", *words]):
        name, _, value = word.partition("=")
        if _is_secret_option(name, value):
            kept.append(f"{name}={MASK}")
        elif describe_secret(word) or (before.startswith("-") and _is_secret_option(before, word)):
            kept.append(MASK)
        else:
            kept.append(word)
    return kept


def masked_value(name: str, value: str) -> str:
    """Return the value of a setting that somebody else wrote, or the mask if it is a secret."""
    return MASK if _is_secret_option(name, value) or describe_secret(value) else value


def _is_secret_option(name: str, value: str) -> bool:
    """Return whether a value may be a secret by its option's name; not a switch, number, variable or special token."""
    bare = value.strip("'\"")
    may_be = not (bare.startswith(("-", "$", "<", "{")) or bare.lower() in _PLAIN or bare.isdecimal())
    return may_be and is_secret_name(name.lstrip("-").replace("-", "_"))
