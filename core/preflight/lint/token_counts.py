"""Counts a text's tokens word by word, each word once: two thirds of a lint's time was making offsets that only count.

A tokenizer that splits at spaces before it merges anything has of a text as many tokens as of its words together. Which
do is read from its own tokenizer.json; of any other every text is encoded whole. Texts are split at single spaces
between two characters that are none: there every known splitting has a border, in whatever words, marks or numbers.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

MEMORY: Final = 400_000  # different words whose tokens are remembered: about 50 MB
LONGEST: Final = 64  # characters of a word that is remembered

_BETWEEN = re.compile(r"(?<=\S) (?=\S)")
_ODD = re.compile(r"[^\S ]|^ |  | $")  # other white space than single spaces between words
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (  # the digits of a number that are one token aside: Qwen has one, Llama 3 three
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = (_GPT2, _LLAMA3, _LLAMA3.replace(r"|\p{N}|", r"|\p{N}{1,3}|"))


class Counter:
    """Counts tokens with a tokenizer of the library of that name."""

    def __init__(self, tokenizer: Any) -> None:
        told = json.loads(tokenizer.to_str())
        self._tokenizer = tokenizer
        self._special = tuple(one["content"] for one in told["added_tokens"])
        self.is_by_word = _splits_at_spaces(told)
        self._first = _Remembered(tokenizer, "")
        self._others = _Remembered(tokenizer, " ")

    def is_border(self, text: str, at: int) -> bool:
        """Whether no token can lie across this place of a text."""
        return (
            at in (0, len(text))
            or (text[at - 1] == "\n" and not text[at].isspace())
            or text.startswith(self._special, at)
            or text.endswith(self._special, 0, at)
        )

    def count(self, text: str) -> int:
        """Count the tokens of a text that begins and ends at borders."""
        if not text:
            return 0
        words = text.split(" ") if text.isascii() and not _ODD.search(text) else _BETWEEN.split(text)
        return self._first[words[0]] + sum(map(self._others.__getitem__, words[1:]))


class _Remembered(dict[str, int]):
    """The tokens of words seen so far, with what stands before each."""

    def __init__(self, tokenizer: Any, before: str) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._before = before

    def __missing__(self, word: str) -> int:
        number = len(self._tokenizer.encode(self._before + word, add_special_tokens=False).ids)
        if len(word) <= LONGEST:
            if len(self) >= MEMORY:
                self.clear()
            self[word] = number
        return number


def _splits_at_spaces(told: dict[str, Any]) -> bool:
    """Whether a tokenizer is known to have a border at every space between two words."""
    normalizer, splits = told.get("normalizer"), told.get("pre_tokenizer")
    if normalizer is not None and normalizer.get("type") != "NFC":
        return False
    if any(
        one["single_word"] or one["lstrip"] or one["rstrip"] or re.search(r"\s", one["content"])
        for one in told["added_tokens"]
    ):
        return False
    steps = () if splits is None else splits.get("pretokenizers", (splits,))
    return all(map(_is_known, steps)) and any(
        step.get("use_regex") or step["type"] == "Split" for step in steps
    )


def _is_known(step: dict[str, Any]) -> bool:
    match step["type"]:
        case "ByteLevel":
            return not step["add_prefix_space"]
        case "Digits":
            return True
        case "Split":
            is_whole = step["behavior"] == "Isolated" and not step["invert"]
            return is_whole and step["pattern"].get("Regex") in _PATTERNS
    return False
