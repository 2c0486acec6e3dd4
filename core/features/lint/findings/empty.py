"""Answers, or plain texts, that are empty."""

from __future__ import annotations

import re

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row

MARKS = frozenset("-–—_.…?*#·•~=+,;:!\"'`()[]{}<>/\\|")  # an answer of these alone says nothing
BARE = frozenset("-–—_.…·•~,;:")  # one or two of these are enough: "?" or "<" can be an answer
ASKED = ("-", "–", "—", "_", "·", "•", "~", ",", ";")  # a question that ends so asks for marks itself: - - -
UNSEEN = re.compile(
    "[\\s\u00ad\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2800\u3164\ufeff]+"
    "|&nbsp;|&#160;|</?(?:br|p|div|span) ?/?>"
)
LONGEST = 40  # characters of an answer that says nothing
_NOTHING = """
    none, null, nan, nil, n/a, n.a, undefined, empty, blank, todo, tbd, tba, void, noinput, nooutput, no input,
    no output, no answer, no response, no content, no data, no text, left blank, intentionally left blank,
    to be done, to be determined, not applicable, not available, answer goes here, response goes here
"""
WORDS = frozenset(_NOTHING.strip().replace("\n    ", " ").split(", "))


class Empty(Rule):
    about = "answers that are empty"
    why = "There is nothing to learn from them: training refuses such a row, or the model learns to say nothing."
    fix = "remove these rows"
    do = "write the answers that are empty, or remove the rows"
    severity = "error"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        if row.fault == "empty":
            return [Sight("empty", f"{row.why}: {excerpt(row.asked)}", "remove")]
        if row.record is None or not row.turns or any(turn.has_calls for turn in row.turns[-1:]):
            return None
        if row.turns[-1].role not in ("assistant", "rejected", "text") or len(row.answer) > LONGEST:
            return None
        bare = UNSEEN.sub(" ", row.answer).strip()
        if not bare:
            return [Sight("empty", excerpt(row.asked), "remove")]
        asks_for_marks = row.asked.rstrip().endswith(ASKED)
        if (len(bare) > 2 and set(bare) <= MARKS) or (set(bare) <= BARE and not asks_for_marks):
            return [Sight("only punctuation", f"{excerpt(row.asked)} → {bare}")]
        if bare.lower().strip("<>[](){}\"'*_#. ") in WORDS:
            return [Sight("a placeholder such as n/a", f"{excerpt(row.asked)} → {bare}")]
        return None


PLUGIN = Empty()
