"""Answers that end before they are finished: within a sentence, in an open code block, in the middle of JSON."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final

import msgspec

from finetop.core.features.lint.findings import Finder, Rule, Tally
from finetop.core.features.lint.report import Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole

STYLE = 0.3  # share of rows from which endings without a full stop are these answers' style
LIKE = 0.5  # the same share, of answers of one sentence
ENOUGH = 12  # answers of one sentence with a full stop needed to know their style
SHOWN = 50  # characters of an answer's end
URL = 300  # characters of a URL, at most
LONG = 12  # words from which a last line without a full stop is a sentence, not a heading or an entry
SHORT = 5  # words from which it is an unfinished sentence, if it has a verb or begins like a sentence

_ENDS = tuple(".!?…。！？؟।:;\"'”’»)]}>`*|~_-=")
_OPENED = (" -", " –", " —", ' "', " “", " (")
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
_LEADS = frozenset(("for", "in", "on", "to", "with"))  # after a yes they need no verb
_VERBS = re.compile(
    r" (?:is|are|was|were|(?<! to )be|been|has|have|had|can|could|will|would|should|may|might|must|do|does|did"
    r"|features|includes|uses|comes|makes|allows|means|provides|offers|helps|contains|consists|refers|causes|occurs) "
)
_LISTED = re.compile(r"^\s*(?:[-*•+–>|#]|\(?\d{1,3}[.):]|[A-Za-z][.)]\s)")
_ENTRY = re.compile(r" - |(?:^|\s)\d{1,2}[.)] ")  # within a line
_SENTENCE = re.compile(r"(?<!\s\d)(?<!\s\d\d)(?<!^\d)[.!?]['\")\]]?\s")  # not the 7. of a list
_LINK = re.compile(r"(?:https?://|www\.)\S+$|\S+@\S+$")
_MARK = re.compile(r"\n\s*(?:[-*•+–]|\d{1,3}[.)])$")  # a list mark with nothing after it
_PART = re.compile(r"[a-z0-9]{2,}-$|[\w,)] ([b-z])$|[a-z]['’]s$")  # self-, and easy t, the backpack's
_CODE = frozenset("=<>{}();")
_OPEN = "within a sentence"
_HALF = "within a word"
_UNSURE = ("without the end of a sentence", "of one sentence, without its end")
_ENDED = "ended"
_LIKELY = 4  # words of an answer from which its last one may be cut
_OFTEN = 3  # from this many answers that end in it a word is whole
_WORDS = 50_000  # different last words that are checked, at most
SAMPLE: Final = 2000  # rows whose words are collected
STRETCHES: Final = 10  # taken from this many places in the data
FEWEST: Final = 3000  # different words needed to know how words end
LEAST: Final = 2  # letters of a cut word
LONGEST: Final = 24
_LAST = re.compile(r"(?:^|[\s\"'“‘(\[/*_.-])([^\W\d_]+)$")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Suffixes of a whole word.
_FORMS = frozenset(("s", "es", "d", "ed", "r", "er", "y", "ly", "st", "est", "ing", "ers"))


def _last_part(text: str, question: str) -> str:
    """Return an answer's last word if it may be cut: the row has it nowhere else."""
    part = last_part(text)
    if not part or text.count(" ") < _LIKELY - 1 or _LINK.search(text, max(0, len(text) - URL)):
        return ""
    return "" if _has_word(text[: -len(part)], part) or _has_word(question, part) else part


def _has_word(text: str, word: str) -> bool:
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        begins = not at or not (text[at - 1].isalpha() or text[at - 1] in "'’")
        if begins and not text[end : end + 1].isalpha():
            return True
        at = text.find(word, end)
    return False


def _unfinished(text: str) -> str:
    if text.count("```") % 2 or text.count('"""') % 2:
        return "in an open code block"
    if text[:1] in ("{", "[") and (is_cut := _is_cut_json(text)) is not None:
        return "in the middle of JSON" if is_cut else ""
    is_part = _ends_in_part(text)
    if _MARK.search(text, max(0, len(text) - SHOWN)):
        return "in a list"
    if not is_part and text.endswith(_ENDS) and not text.endswith(_OPENED):
        return _ENDED if text.endswith(".") and _is_one_sentence(text) else ""
    last_line = text.rpartition("\n")[2]
    words = last_line.split()
    if not words or "```" in text:
        return ""
    last = words[-1].lower()
    if len(last) > 1 and last in _HANGING and len(text.split()) >= 6:
        return _OPEN
    is_hanging = last in _HANGING or last == '"' or last.endswith((",", "(", "[", "{", "“", "—", "–"))
    if len(words) >= 4 and is_hanging and len(text.split()) >= (4 if last.endswith(",") else 6):
        return _OPEN
    if is_part and len(words) >= 4 and len(text.split()) >= 6:
        return _OPEN
    opened = (last_line.count(opening) - last_line.count(closing) for opening, closing in ("()", "[]", "{}"))
    if len(words) >= 2 and max(opened) > 0:
        return "in open brackets"
    if not (last[-1].isalpha() or last.isdigit()):  # not a footnote's number: above.1
        return ""
    if _lacks_an_end(text, last_line):
        return _UNSURE[0]
    if _LINK.search(words[-1][-URL:]) or _is_in_a_list(text, last_line):
        return ""
    if (entry := _LISTED.match(last_line)) is not None:
        return _UNSURE[0] if last[-1].isalpha() and _SENTENCE.search(last_line, entry.end() + 1) else ""
    is_prose = len(words) >= LONG or (len(words) >= 5 and bool(_SENTENCE.search(last_line)))
    if is_prose and _SENTENCE.search(text):
        return _UNSURE[0]
    return _UNSURE[1] if last[-1].isalpha() and _is_one_sentence(text) else ""


def _is_in_a_list(text: str, last_line: str) -> bool:
    """Return True if the line before has no sentence end either, or the last line's rest is list entries."""
    before = text[: -len(last_line)].rstrip()
    if before and not before.endswith((".", "!", "?", ":")):
        return True
    ends = [match.end() for match in _SENTENCE.finditer(last_line)]
    return bool(_ENTRY.search(last_line, ends[-1] if ends else 0))


def _lacks_an_end(text: str, last_line: str) -> bool:
    """Return True if every line but the last ends like a sentence."""
    before = [line.rstrip() for line in text[: -len(last_line)].splitlines() if line.count(" ") > 1]
    is_entry = ":" in last_line or " " not in last_line
    return len(before) > 1 and not is_entry and all(line.endswith((".", "!", "?", ":")) for line in before)


def _ends_in_part(text: str) -> bool:
    """Return True if the text ends in a cut word, not in a one-letter name (x, n) that it also has elsewhere."""
    match = _PART.search(text, max(0, len(text) - 40))
    if match is None or not _CODE.isdisjoint(text.rpartition("\n")[2]):
        return False
    return match[1] is None or f" {match[1]} " not in text


def _is_one_sentence(text: str) -> bool:
    """Return True for an answer of one sentence; a heading, a name or a table entry has no full stop."""
    if "\n" in text or ":" in text or len(text) > 600 or not text[0].isupper():
        return False
    words = text.split()
    if len(words) < SHORT or _SENTENCE.search(text):
        return False
    if words[0] in ("Yes,", "No,"):
        return words[1].lower() in _BEGINS - _LEADS or bool(_VERBS.search(text))
    return words[0].lower() in _BEGINS or bool(_VERBS.search(text))


def _is_cut_json(text: str) -> bool | None:
    """Return whether JSON is cut off; None for a text that is not JSON."""
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        return True if "truncated" in str(error) else None
    return False


class _Ends(Finder):
    """Counts uncertain kinds separately: a missing full stop means nothing if most similar answers have none."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        # Certain; certain or several sentences; certain or one sentence; all.
        every: tuple[tuple[str, ...], ...] = ((), (_UNSURE[0],), (_UNSURE[1],), _UNSURE)
        self.tallies = {kinds: Tally(rule, lens) for kinds in every}
        self.counts: Counter[str] = Counter()
        # by last word: row, the text, how else it ends
        self.parts: dict[str, list[tuple[int, str, str]]] = {}

    def add(self, at: int, seen: Sequence[str]) -> None:
        kind, shown, part = seen
        if part:
            self._take_part(at, part, shown, kind)
        if not kind:
            return
        self.counts[kind] += 1
        if kind == _ENDED:
            return
        for kinds, tally in self.tallies.items():
            if kind not in _UNSURE or kind in kinds:
                tally.add(at, [(kind, shown)])

    def _take_part(self, at: int, part: str, shown: str, kind: str) -> None:
        if part not in self.parts and len(self.parts) >= _WORDS:
            return
        those = self.parts.setdefault(part, [])
        if len(those) < _OFTEN:
            those.append((at, shown, kind))

    def finish(self, whole: Whole) -> list[Finding]:
        """Leave out what is the style of these answers, and add those that end in a cut word."""
        several, one = (self.counts[kind] for kind in _UNSURE)
        ended = self.counts[_ENDED]
        told = (several <= STYLE * whole.rows, ended >= ENOUGH and one <= LIKE * (one + ended))
        kinds = tuple(kind for kind, is_marked in zip(_UNSURE, told, strict=True) if is_marked)
        tally = self.tallies[kinds]
        for at, shown, kind in sorted(self._halves(whole)):
            if kind not in kinds:
                tally.add(at, [(_HALF, shown)])
        tally.first = array("Q", sorted(tally.first))
        return tally.finish(whole)

    def _halves(self, whole: Whole) -> Iterator[tuple[int, str, str]]:
        parts = {part: those for part, those in self.parts.items() if len(those) < _OFTEN}
        if parts:
            words = vocabulary_of(whole)
            for part, those in parts.items():
                if words.is_half(part):
                    yield from those


def last_part(text: str) -> str:
    """Return the letters that a text ends with if they may be a cut word, else ""."""
    match = _LAST.search(text, max(0, len(text) - LONGEST - 1))
    if match is None or not LEAST <= len(match[1]) <= LONGEST or match[1][1:] != match[1][1:].lower():
        return ""
    return match[1]


class Vocabulary:
    """The words of texts, and how they end: "corporat" is a cut word.

    No text has it as a word, and longer words begin with it that are not just another form of it (patient, patients).
    """

    def __init__(self, texts: Iterable[str]) -> None:
        known = {word for text in texts for word in _WORD.findall(text.casefold())}
        self._known = known
        self._sorted = sorted(known)
        enough = len(known) >= FEWEST
        self._ends = {word[-3:] for word in known if len(word) > 3} if enough else set()

    def is_half(self, part: str) -> bool:
        """Return True for a cut word; a name, or a word seen only once, counts as whole."""
        folded = part.casefold()
        if folded in self._known:
            return False
        is_word = part.islower() and len(part) > 3 and part.isascii()
        if self._ends and is_word and folded[-3:] not in self._ends:
            return True
        following = self._sorted[bisect_left(self._sorted, folded) :]
        longer = takewhile(lambda word: word.startswith(folded), following)
        return any(word[len(folded) :] not in _FORMS for word in longer)


def vocabulary_of(whole: Whole) -> Vocabulary:
    """Collect words from some rows, without each answer's last one, which may be cut."""
    rows, each = whole.rows, SAMPLE // STRETCHES
    ats = [place * rows // STRETCHES + n for place in range(STRETCHES) for n in range(each)]
    texts = []
    for row in whole.again(ats if rows > SAMPLE else range(rows)):
        answer = row.answer.rstrip()
        texts += [row.asked, answer.removesuffix(last_part(answer))]
    return Vocabulary(texts)


class CutOff(Rule):
    about = "answers that end before they are finished"
    why = (
        "The model learns to stop anywhere: its answers break off too. Often the token limit at which they"
        " were generated was too low."
    )
    fix = ""  # the missing part is unknown
    do = "finish the answers that break off, or remove them"
    finder = _Ends

    def scan(self, row: Row, lens: Lens) -> list[str] | None:
        """Return how the answer ends: the kind, and unless it is finished the text, and a word that may be cut."""
        if row.record is None or row.is_text or not row.answer or (row.turns and row.turns[-1].has_calls):
            return None
        text = row.answer.rstrip()
        kind = _unfinished(text)
        if kind == _ENDED:
            return [kind, "", ""]
        shown = "…" + text[-SHOWN:] if len(text) > SHOWN else text
        part = _last_part(text, row.asked) if kind in ("", *_UNSURE) else ""
        return [kind, shown, part] if kind or part else None


PLUGIN = CutOff()
