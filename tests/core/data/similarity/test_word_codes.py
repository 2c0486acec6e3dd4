"""Texts get the same numbers if only case, marks and spaces differ, and others if words do."""

from __future__ import annotations

import subprocess
import sys

from finetop.core.data.similarity.word_codes import DIGIT, LITTLE, NAME, START, bare, codes_of, fingerprint


def same(one: str, other: str) -> bool:
    return bare(codes_of(one)).tolist() == bare(codes_of(other)).tolist()


def test_case_marks_and_spaces_are_nothing_but_signs_and_characters_without_spaces_are_words() -> None:
    assert same("What is it?", "what  IS\nit")
    assert same("Café, please!", "cafe\u0301 please")
    assert same("２ + ２", "2 + 2")
    assert same("snake_case", "Snake case")
    for one, other in (("16 + 4", "16 - 4"), ("a $5 bill", "a 5 bill"), ("红茶", "绿茶")):
        assert not same(one, other)
    assert len(codes_of("红茶")) == 2


def test_marks_of_words_and_fingerprints_are_the_same_in_every_process() -> None:
    we, _, paris, in_, year, is_, _ = codes_of("We saw Paris in 1999. Is it").tolist()
    assert we & START and not we & NAME  # a sentence's first word always has a capital
    assert paris & NAME and not paris & DIGIT
    assert in_ & LITTLE
    assert year & DIGIT
    assert is_ & START
    assert not any(code & NAME for code in codes_of("ALL IN CAPITALS HERE").tolist())
    assert fingerprint("Who?", "Me.") == fingerprint("who", " ME ")
    assert fingerprint("a b", "c") != fingerprint("a", "b c")
    assert fingerprint("16 - 4") != fingerprint("16 + 4")
    assert fingerprint("!!!") != fingerprint("???")  # in a text of only marks, they count
    assert fingerprint("", "\ud800") == fingerprint("", "\ud800")
    code = "from finetop.core.data.similarity.word_codes import codes_of; print(codes_of('a Tent of 3 kg').tolist())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(codes_of("a Tent of 3 kg").tolist())
