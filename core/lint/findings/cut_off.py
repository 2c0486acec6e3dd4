"""Answers that end before they are finished: within a sentence, in an open code block, in the middle of JSON."""

from __future__ import annotations

import re
from collections import Counter
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
DO = "finish the answers that break off, or remove them"
SEVERITY = "warning"
STYLE = 0.3  # share of rows from which an end without a full stop is how these answers are written
LIKE = 0.5  # share of answers of one sentence, from which it is how those are written
ENOUGH = 12  # answers of one sentence with a full stop, to know that
SHOWN = 50  # characters of an answer's end
LONG = 12  # words of a last line without a full stop from which it is a sentence, not a heading or an entry
SHORT = 5  # words from which it is one that was begun, if it has a verb, or begins as sentences do

_ENDS = tuple(".!?…。！？؟।:;\"'”’»)]}>`*|~_-=")
_HANGING_WORDS = """
    the a an of to in on at by for with from and or but nor as that which who whose than into onto about between is are
    was were be been being has have had will would can could should may might must not if when while because although
    his their her its our your my this these those such very more most also e.g. i.e. during through without within
    towards until unless since per via upon whether including every each they we he she
    der die das und oder ein eine mit
    von zu le la les de des du et ou un une avec pour que el los las y con para por il di che
"""
_HANGING = frozenset(_HANGING_WORDS.split())
_BEGINNING_WORDS = """
    the a an this these that those it its you your we they he she i there to if when in on for
"""
_BEGINS = frozenset(_BEGINNING_WORDS.split())
_VERBS = re.compile(
    r" (?:is|are|was|were|be|been|has|have|had|can|could|will|would|should|may|might|must|do|does|did|features|includes"
    r"|uses|comes|makes|allows|means|provides|offers|helps|contains|consists|refers|causes|occurs) "
)
_LISTED = re.compile(r"^\s*(?:[-*•+–>|#]|\(?\d{1,3}[.):]|[A-Za-z][.)]\s)")
_SENTENCE = re.compile(r"[.!?]['\")\]]?\s")
_LINK = re.compile(r"(?:https?://|www\.)\S+$|\S+@\S+$")
_PART = re.compile(r"[a-z]{3,}-$|[\w,)] ([b-hj-z])$|[a-z]['’]s$")  # self-, and easy t, the backpack's
_CODE = frozenset("=<>{}();")
_OPEN = "within a sentence"
_UNSURE = ("without the end of a sentence", "of one sentence, without its end")
_ENDED = "ended"


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See how the answer ends; of one of a single sentence, also that it is ended."""
    if row.record is None or row.is_text or not row.answer or (row.turns and row.turns[-1].has_calls):
        return None
    text = row.answer.rstrip()
    kind = _unfinished(text)
    if kind == _ENDED:
        return [Sight(kind, "")]
    return [Sight(kind, "…" + text[-SHOWN:] if len(text) > SHOWN else text)] if kind else None


def _unfinished(text: str) -> str:
    if text.count("```") % 2:
        return "in an open code block"
    if text[:1] in ("{", "["):
        return "in the middle of JSON" if _is_cut_json(text) else ""
    is_part = _ends_in_part(text)
    if not is_part and text.endswith(_ENDS) and not text.endswith((" -", " –", " —")):
        return _ENDED if text.endswith(".") and _is_one_sentence(text) else ""
    last_line = text.rpartition("\n")[2]
    words = last_line.split()
    if not words or "```" in text:
        return ""
    last = words[-1].lower()
    if len(last) > 1 and last in _HANGING and len(text.split()) >= 6:
        return _OPEN
    is_hanging = last in _HANGING or last.endswith((",", "(", "[", "{", "“", "—", "–"))
    if len(words) >= 4 and is_hanging and len(text.split()) >= 6:
        return _OPEN
    if is_part and len(words) >= 4 and len(text.split()) >= 6:
        return _OPEN
    if not last[-1].isalpha():
        return ""
    if _LISTED.match(last_line) or _LINK.search(text[-SHOWN:]):
        return ""
    is_prose = len(words) >= LONG or (len(words) >= 5 and bool(_SENTENCE.search(last_line)))
    if is_prose and _SENTENCE.search(text):
        return _UNSURE[0]
    return _UNSURE[1] if _is_one_sentence(text) else ""


def _ends_in_part(text: str) -> bool:
    """Tell half of a word at the end from a letter that is a name (x, n), which the text has elsewhere too."""
    found = _PART.search(text, max(0, len(text) - 40))
    if found is None or not _CODE.isdisjoint(text.rpartition("\n")[2]):
        return False
    return found[1] is None or f" {found[1]} " not in text


def _is_one_sentence(text: str) -> bool:
    """Tell an answer of one sentence from a heading, a name or an entry of a table, which have no full stop."""
    if "\n" in text or len(text) > 600 or not text[0].isupper():
        return False
    words = text.split()
    if len(words) < SHORT or _SENTENCE.search(text):
        return False
    first = words[1] if words[0] in ("Yes,", "No,") else words[0]
    return first.lower() in _BEGINS or bool(_VERBS.search(text))


def _is_cut_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        return "truncated" in str(error)
    return False


class Finder:
    """Counts kinds of evidence apart: an end without a full stop says nothing where most like answers have none."""

    def __init__(self, lens: Lens) -> None:
        import sys

        module = sys.modules[__name__]
        # Sure; sure or several sentences; sure or one sentence; all.
        self.tallies: dict[tuple[str, ...], Tally] = {
            kinds: Tally("cut-off", module) for kinds in ((), (_UNSURE[0],), (_UNSURE[1],), _UNSURE)
        }
        self.counts: Counter[str] = Counter()

    def take(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        """Take in how an answer ends."""
        kind = seen[0][0]
        self.counts[kind] += 1
        if kind == _ENDED:
            return
        for kinds, tally in self.tallies.items():
            if kind not in _UNSURE or kind in kinds:
                tally.take(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Leave out what is the style of these answers."""
        several, one = (self.counts[kind] for kind in _UNSURE)
        ended = self.counts[_ENDED]
        told = (several <= STYLE * whole.rows, ended >= ENOUGH and one <= LIKE * (one + ended))
        return self.tallies[
            tuple(kind for kind, is_told in zip(_UNSURE, told, strict=True) if is_told)
        ].finish(whole)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Nothing: what is missing is not known."""
        yield from ()
