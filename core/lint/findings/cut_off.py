"""Answers that end before they are finished: within a sentence, in an open code block, in the middle of JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from finetop.core.lint.tally import Sight, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.lint.report import Finding
    from finetop.core.lint.row import Lens, Row
    from finetop.core.lint.tally import Fix
    from finetop.core.lint.whole import Whole

ABOUT = "answers that end before they are finished"
WHY = "The model learns to stop anywhere: its answers break off too. Often the limit of whoever wrote them was too low."
FIX = ""
SEVERITY = "warning"
STYLE = 0.3  # share of rows from which an end without a full stop is how these answers are written
SHOWN = 50  # characters of an answer's end
LONG = 12  # words of a last line without a full stop from which it is a sentence, not a heading or an entry

_ENDS = tuple(".!?…。！？؟।:;\"'”’»)]}>`*|~_-=")
_HANGING_WORDS = """
    the a an of to in on at by for with from and or but nor as that which who whose than into onto about between is are
    was were be been being has have had will would can could should may might must not if when while because although
    their his her its our your my this these those such very more most also e.g. i.e. der die das und oder ein eine mit
    von zu le la les de des du et ou un une avec pour que el los las y con para por il di che
"""
_HANGING = frozenset(_HANGING_WORDS.split())
_LISTED = re.compile(r"^\s*(?:[-*•+–>|#]|\(?\d{1,3}[.):]|[A-Za-z][.)]\s)")
_SENTENCE = re.compile(r"[.!?]['\")\]]?\s")
_LINK = re.compile(r"(?:https?://|www\.)\S+$|\S+@\S+$")


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See how the answer ends."""
    if row.record is None or row.is_text or not row.answer or (row.turns and row.turns[-1].has_calls):
        return None
    text = row.answer.rstrip()
    kind = _unfinished(text)
    return [Sight(kind, "…" + text[-SHOWN:] if len(text) > SHOWN else text)] if kind else None


def _unfinished(text: str) -> str:
    if text.count("```") % 2:
        return "in an open code block"
    if text[:1] in ("{", "["):
        return "in the middle of JSON" if _is_cut_json(text) else ""
    if text.endswith(_ENDS) and not text.endswith((" -", " –", " —")):
        return ""
    last_line = text.rpartition("\n")[2]
    words = last_line.split()
    if not words or "```" in text:
        return ""
    last = words[-1].lower()
    if (
        len(words) >= 4
        and (last in _HANGING or last.endswith((",", "(", "[", "{", "“", "—", "–")))
        and len(text.split()) >= 6
    ):
        return "within a sentence"
    is_prose = len(words) >= LONG or (len(words) >= 5 and bool(_SENTENCE.search(last_line)))
    is_prose = is_prose and bool(_SENTENCE.search(text)) and not _LISTED.match(last_line)
    if is_prose and last.isalpha() and not _LINK.search(text[-SHOWN:]):
        return "without the end of a sentence"
    return ""


def _is_cut_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        return "truncated" in str(error)
    return False


class Finder:
    """Counts both kinds of evidence apart: an end without a full stop says nothing where most answers have none."""

    def __init__(self, lens: Lens) -> None:
        import sys

        module = sys.modules[__name__]
        self.clear = Tally("cut-off", module)
        self.all = Tally("cut-off", module)

    def take(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        """Take in how an answer ends."""
        self.all.take(at, seen)
        if seen[0][0] != "without the end of a sentence":
            self.clear.take(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Leave out what is the style of these answers."""
        unsure = self.all.count - self.clear.count
        return (self.clear if unsure > STYLE * whole.rows else self.all).finish(whole)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Nothing: what is missing is not known."""
        yield from ()
