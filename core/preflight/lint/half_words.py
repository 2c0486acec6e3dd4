"""Halves of words at the end of a text, told from whole ones by the words that the data have.

"corporat" is half of a word: no text has it as a word, and longer ones begin with it that are more than another form
of it (patient, patients). The words are those of a sample of the rows, whatever language they are in.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from finetop.core.preflight.lint.second_pass import Whole

SAMPLE: Final = 2000  # rows whose words are known
STRETCHES: Final = 10  # from so many places of the data
FEWEST: Final = 3000  # different words, to know how words end
LEAST: Final = 2  # letters of a half
LONGEST: Final = 24

_LAST = re.compile(r"(?:^|[\s\"'“‘(\[/*_.-])([^\W\d_]+)$")
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_FORMS = frozenset(("s", "es", "d", "ed", "r", "er", "y", "ly", "st", "est", "ing", "ers"))  # of a whole word


def last_part(text: str) -> str:
    """Give the letters that a text ends with, if they may be half of a word; "" if not."""
    found = _LAST.search(text, max(0, len(text) - LONGEST - 1))
    if found is None or not LEAST <= len(found[1]) <= LONGEST or found[1][1:] != found[1][1:].lower():
        return ""
    return found[1]


class Words:
    """The words of texts, and how they end."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = {word for text in texts for word in _WORDS.findall(text.casefold())}
        self._known = known
        self._sorted = sorted(known)
        enough = len(known) >= FEWEST
        self._ends = {word[-3:] for word in known if len(word) > 3} if enough else set()

    def is_half(self, part: str) -> bool:
        """Tell half of a word from a word; a name, or a word that is seen once, counts as whole."""
        folded = part.casefold()
        if folded in self._known:
            return False
        if (
            self._ends
            and part.islower()
            and len(part) > 3
            and part.isascii()
            and folded[-3:] not in self._ends
        ):
            return True
        longer = takewhile(
            lambda word: word.startswith(folded), self._sorted[bisect_left(self._sorted, folded) :]
        )
        return any(word[len(folded) :] not in _FORMS for word in longer)


def words_of(whole: Whole) -> Words:
    """Read some rows again for their words; not the last one of each answer, which may be half of one."""
    rows, each = whole.rows, SAMPLE // STRETCHES
    ats = [place * rows // STRETCHES + n for place in range(STRETCHES) for n in range(each)]
    if rows <= SAMPLE:
        ats = list(range(rows))
    texts = []
    for row in whole.again(ats):
        answer = row.answer.rstrip()
        part = last_part(answer)
        texts += [row.asked, answer[: len(answer) - len(part)]]
    return Words(texts)
