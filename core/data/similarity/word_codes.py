"""A text as one number per word, for comparing texts.

A code is 26 bits of a hash of the word, ignoring case, and six marks: a capital (not in a sentence's first word, which
always has one), a digit in it, whether it has little meaning of its own, whether it starts a sentence, whether its
script has no capitals, which would tell a name, and whether it is a single character. In scripts without spaces each
character is a code; two count as a word. Signs of arithmetic and money are words too: 16 + 4 is not 16 - 4.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]

CAPITAL: Final = 1
DIGIT: Final = 2
LITTLE: Final = 4  # little meaning of its own: the, of, please
START: Final = 8
UNCASED: Final = 16  # of a script without capitals: Chinese, Arabic, Hindi …
CHARACTER: Final = 32  # of a script without spaces
NAME: Final = CAPITAL | DIGIT
MARKS: Final = 6  # bits

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"[.!?:;\n\u3002\uff01\uff1f]+|\((?=[A-Z][a-z]+\x20)|[+*/=<>%^$\u20ac\u00a3\u00d7\u00f7]|(?<=[\d\s])[-\u2212](?=[\s\d])|[{_UNSPACED}]|[^\W_{_UNSPACED}]+"
)
_UNSPACED_ONE = re.compile(rf"[{_UNSPACED}]")
_ASCII_TOKEN = re.compile(  # the same, faster
    r"[A-Za-z0-9]+|[.!?:;\n]+|\((?=[A-Z][a-z]+\x20)|[+*/=<>%^$]|(?<=[\d\s])-(?=[\s\d])", re.ASCII
)
_ENDS = frozenset(".!?:;\n\u3002\uff01\uff1f(")  # the bracket begins a sentence
_EDGES = " .,:;!?=\"'"
# capitalized, they begin a sentence
_OPENERS = frozenset(("Please", "Thanks", "Thank", "Kindly", "Hi", "Hello"))
_MEMORY = 400_000  # cached codes of different words: about 60 MB

_LITTLE_WORDS: Final = """
    a an the this that these those some any such same other others each every either neither both all
    i you he she it we they me him her us them my your his its our their mine yours ours theirs one ones
    am is are was were be been being do does did done doing have has had having will would shall should can could
    may might must ought let s t d ll m re ve don doesn didn isn aren wasn weren won wouldn couldn shouldn hasn haven
    and or but nor so yet if then else than as because since while when where who whom whose which what why how
    of in on at by for with from to into onto upon about over under between among through during before after above
    following no not below out off up down again further once here there also too very just only even still
    quite really rather
    please kindly thanks thank ok okay well now hi hello dear tell me give know want like need get got go
"""
LITTLE_WORDS: Final = frozenset(_LITTLE_WORDS.split())
_LITTLE_CHARACTERS: Final = frozenset(
    "的了是在吗呢吧啊呀嘛请就都也很把被给和与及着过这那它のはがをにでともかへやねよ"
)


class _Remembered(dict[str, int]):
    """Cached codes of words; the end of a sentence has the code 0."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MEMORY:
            self.clear()
        self[word] = code = _code(word)
        return code


def _code(word: str) -> int:
    if word[0] in _ENDS:
        return 0
    folded = word.casefold()
    code = (crc32(folded.encode("utf-8", "replace")) | 1 << MARKS) >> MARKS << MARKS
    if word in _OPENERS:
        return code | START | LITTLE
    if _UNSPACED_ONE.match(word):
        return code | CHARACTER | UNCASED | LITTLE * (word in _LITTLE_CHARACTERS)
    code |= CAPITAL * word[0].isupper() | LITTLE * (folded in LITTLE_WORDS)
    code |= UNCASED * (word[0].isalpha() and word.lower() == word.upper())
    return code | DIGIT * any(map(str.isdigit, word))


_codes = _Remembered()


def codes_of(text: str) -> Codes:
    """Return the code of each word of a text."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        raw = _TOKEN.findall(text)
    else:
        raw = _ASCII_TOKEN.findall(text)
    behind = np.zeros(len(raw) + 1, np.uint32)  # the first word counts as a sentence start
    behind[1:] = np.fromiter(map(_codes.__getitem__, raw), np.uint32, len(raw))
    words = behind[1:].nonzero()[0]
    codes: Codes = behind[words + 1]
    starts = behind[words] == 0
    capitals = codes & CAPITAL
    # A Heading, or ALL IN CAPITALS, is no name; a long name in a short question is.
    if 2 * np.count_nonzero(capitals) > len(codes) and capitals[(codes & (LITTLE | DIGIT)) == 0].all():
        codes &= ~np.uint32(CAPITAL)
    codes[starts] = codes[starts] & ~np.uint32(CAPITAL) | np.uint32(START)
    return codes


def words_in(codes: Codes) -> int:
    """Return how many words a text has; two characters of a script without spaces are one."""
    return len(codes) - int(np.count_nonzero(codes & np.uint32(CHARACTER))) // 2


def bare(codes: Codes) -> Codes:
    """Drop the marks: the rest is equal for equal words."""
    words: Codes = codes >> np.uint32(MARKS)
    return words


def normalised(text: str) -> str:
    """Fold case and white space, and strip marks at the ends; marks inside stay."""
    return " ".join(text.casefold().split()).strip(_EDGES)


def folded(text: str) -> str:
    """Fold a text as its fingerprint does; a text of only marks keeps them."""
    return normalised(text) or text.strip()


def fingerprint(*texts: str) -> int:
    """Hash texts into 64 bits, ignoring case, white space, and marks at the ends."""
    return fingerprint_of(*map(folded, texts))


def fingerprint_of(*texts: str) -> int:
    """Hash texts that are already folded."""
    whole = "\x1f".join(texts)
    return int.from_bytes(hashlib.blake2b(whole.encode("utf-8", "replace"), digest_size=8).digest(), "big")
