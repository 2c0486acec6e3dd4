"""Which benchmark items the training data contains: learning them by heart hides what was forgotten.

An item is contaminated when at least half of its 8-grams occur in the training rows, when a run of its words
as long as LONG_RUN does, or, for items under 8 words, when a whole text of a training row says just the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from finetop.core.check.deciding.permutation import Key

GRAM = 8  # words
LONG_RUN = 24  # words in a row

_WORD = re.compile(r"\w+")


def contaminated(items: Mapping[Key, str], training_texts: Iterable[str]) -> tuple[Key, ...]:
    """Find the items (key -> text) that the training texts contain. The texts are read once and not kept."""
    words = {key: tuple(_words(text)) for key, text in items.items()}
    wanted: set[tuple[str, ...]] = {gram for said in words.values() for gram in _grams(said)}
    short = {key: _normalised(items[key]) for key, said in words.items() if len(said) < GRAM}
    seen_grams: set[tuple[str, ...]] = set()
    seen_texts: set[str] = set()
    known = set(short.values()) - {""}
    for text in training_texts:
        said = tuple(_words(text))
        if len(said) < GRAM and (whole := _normalised(text)) in known:
            seen_texts.add(whole)
        seen_grams.update(gram for gram in _grams(said) if gram in wanted)
    return tuple(
        sorted(
            key for key, said in words.items() if short.get(key) in seen_texts or _overlaps(said, seen_grams)
        )
    )


def _overlaps(said: tuple[str, ...], seen: set[tuple[str, ...]]) -> bool:
    hits = [gram in seen for gram in _grams(said)]
    if not hits:
        return False
    run = longest = 0
    for hit in hits:
        run = run + 1 if hit else 0
        longest = max(longest, run)
    return 2 * sum(hits) >= len(hits) or longest >= LONG_RUN - GRAM + 1


def _normalised(text: str) -> str:
    """Fold case and white space and drop marks at the ends; marks inside stay: 16 + 4 is not 16 - 4."""
    return " ".join(text.casefold().split()).strip(" .,:;!?=\"'")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _grams(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (words[at : at + GRAM] for at in range(len(words) - GRAM + 1))
