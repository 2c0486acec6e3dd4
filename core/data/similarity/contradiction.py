"""Whether two answers to one question contradict each other: labels and facts do, poems don't.

Short answers that differ contradict each other, unless one says the same at more length. Most long ones do not: there
is more than one way to explain. They do if one says yes and the other no, if they end in different numbers, if they
are the same except for a name or a number, or if they have hardly a word in common (one answers something else). A
prompt that asks for an invention (a sentence of it begins with write, suggest, name …) has no single answer, and is
skipped, except for answers to a different question, and for labels: the same few short answers in many rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from finetop.core.data.similarity.edits import TABLE, Counts, compare
from finetop.core.data.similarity.word_codes import DIGIT, LITTLE, MARKS, START, Codes, bare, codes_of

BEGIN: Final = 4  # words: could you please write
EDGE: Final = 30  # first and last words, in which a prompt says what to do
SHORT: Final = 8  # words of an answer that is a label, a name, a number
AGREES: Final = 0.6  # share of a short answer's words that an agreeing longer one has
UNLIKE: Final = 0.15  # share of the shorter answer's uncommon words that both have: at most this is unlike
OFTEN: Final = 0.05  # share of all texts: a word in more of them says little
OFTEN_AT_LEAST: Final = 50
LONG: Final = 40  # words of an answer that a few words can't replace
HALF_LONG: Final = 20
ENOUGH: Final = 6  # meaningful words in an answer, to judge that it is about something else
FEW: Final = 3  # of them, if it shares none with the question and the other answer
MANY: Final = 10  # of them, with which two answers without a common word differ, whatever the question
NOTHING: Final = 0.05  # as good as none
OFF: Final = 0.25  # share of the prompt words used by one answer that the other also uses
ALIKE: Final = 0.6  # common share of two long answers that are one text with a change

YES = frozenset(bare(codes_of("yes yeah true correct")).tolist())
NO = frozenset(bare(codes_of("no nope false incorrect")).tolist())
_MADE_UP = (
    "write compose create generate invent imagine suggest brainstorm draft design rewrite rephrase paraphrase name "
    "list recommend plan describe continue complete pick choose think come give some random example story poem joke"
)
MADE_UP = frozenset(bare(codes_of(_MADE_UP)).tolist())


def contradiction(
    asked: Codes,
    one: Codes,
    other: Codes,
    counts: Counts | None = None,
    texts: int = 0,
    *,
    are_labels: bool = False,
) -> str:
    """Return how two answers to a question contradict each other; "" if they don't."""
    first, second = sorted((one, other), key=len)
    if len(first) == len(second) and np.array_equal(bare(first), bare(second)):
        return ""
    is_open = not are_labels and _makes_up(asked)
    common = max(OFTEN_AT_LEAST, OFTEN * texts)
    about, short, long = (_topics(side, counts, common) for side in (asked, first, second))
    if len(first) <= SHORT:
        if is_open and not _is_off(about, short, long, len(second)) and not _is_verdict(first, second):
            return ""
        return "" if _says(second, first) else "different short answers"
    change = compare(first, second, counts)
    if change.share >= ALIKE:
        return "the same but for a name or number" if change.swapped_names and not is_open else ""
    if not is_open:
        if _yes_or_no(first) * _yes_or_no(second) < 0:
            return "yes and no"
        ends = [int(side[-1]) for side in (first, second)]
        if all(end & DIGIT for end in ends) and ends[0] >> MARKS != ends[1] >> MARKS:
            return "different numbers at the end"
    return "answers to different questions" if _unlike(about, short, long, is_open=is_open) else ""


def _makes_up(asked: Codes) -> bool:
    """Return whether the prompt asks for an invention: a sentence near its start or end begins with such a word."""
    begins = np.flatnonzero(asked & START)
    begins = begins[(begins < EDGE) | (begins >= len(asked) - EDGE)]
    near = {int(place) + n for place in begins.tolist() for n in range(BEGIN) if place + n < len(asked)}
    return not MADE_UP.isdisjoint(bare(asked[sorted(near)]).tolist())


def _says(longer: Codes, shorter: Codes) -> bool:
    """Return whether a longer answer says what a short one says."""
    if not len(shorter):
        return True
    verdicts = _yes_or_no(shorter), _yes_or_no(longer)
    if all(verdicts):
        return verdicts[0] == verdicts[1]
    wanted = _matters(shorter) or set(bare(shorter).tolist())
    has = set(bare(longer).tolist())
    numbers = {int(code) >> MARKS for code in shorter.tolist() if code & DIGIT}
    return numbers <= has and len(wanted & has) >= AGREES * len(wanted)


def _yes_or_no(answer: Codes) -> int:
    word = int(answer[0]) >> MARKS if len(answer) else 0
    return (word in YES) - (word in NO)


def _is_verdict(short: Codes, longer: Codes) -> bool:
    """Return whether one answer is only yes or no, and the longer one contains no such verdict."""
    return len(short) == 1 and bool(_yes_or_no(short)) and len(longer) > SHORT and not _yes_or_no(longer)


def _is_off(about: set[int], short: set[int], longer: set[int], words: int) -> bool:
    """Return whether two answers share no topic, and one of them shares none with the prompt.

    The fewer words (`words`) the longer answer has, the more of the prompt the other must use; a long one needs none.
    """
    if short & longer or not short:
        return False
    less, more = sorted((len(short & about), len(longer & about)))
    if less:
        return False
    return more >= (1 if words >= HALF_LONG else 2) or (words >= LONG and not short & about)


def _matters(codes: Codes) -> set[int]:
    return set(bare(codes[(codes & LITTLE) == 0]).tolist())


def _topics(codes: Codes, counts: Counts | None, common: float) -> set[int]:
    """Return the words that show a text's topic: those that few texts have."""
    words = _matters(codes)
    return words if counts is None else {word for word in words if counts[word & (TABLE - 1)] <= common}


def _unlike(about: set[int], first: set[int], second: set[int], *, is_open: bool) -> bool:
    """Return whether two answers are about different things; for open prompts, one must also miss the question."""
    fewer, shared = min(len(first), len(second)), len(first & second)
    less, more = sorted((len(first & about), len(second & about)))
    if fewer >= FEW and shared <= NOTHING * fewer and (less == 0 < more or fewer >= MANY):
        return True
    if fewer < ENOUGH or shared > UNLIKE * fewer:
        return False
    return not is_open or (more > 0 and less <= OFF * more)


def answers_else(
    asked: tuple[Codes, Codes], answers: tuple[Codes, Codes], counts: Counts | None = None, texts: int = 0
) -> bool:
    """Return whether one of two rows with nearly the same question answers something else, and the other doesn't."""
    common = max(OFTEN_AT_LEAST, OFTEN * texts)
    about = _topics(asked[0], counts, common) & _topics(asked[1], counts, common)
    first, second = (_topics(side, counts, common) for side in answers)
    less, more = sorted((len(first & about), len(second & about)))
    is_enough = less == 0 < more and min(len(first), len(second)) >= ENOUGH
    return is_enough and _unlike(about, first, second, is_open=True)
