"""The sanitizer: no control sequence of an outside string reaches the terminal."""

import pytest
from hypothesis import given, strategies as st

from finetop.core.text import SHOWN_BYTES, clean, clean_line

PAYLOADS = [
    ("a\x1b]0;title\x07b", "ab"),
    ("a\x1b]52;c;aGk=\x1b\\b", "ab"),
    ("a\x1b[2Jb", "ab"),
    ("a\x1b[?1049lb", "ab"),
    ("a\x9b31mb", "ab"),
    ("a\x9d0;t\x07b", "ab"),
    ("a\x1bPq#0\x1b\\b", "ab"),
    ("a\x1b]0;never ended", "a"),
    ("a\x00b\x7fc", "abc"),
    ("a\u202eb\u2066c", "a<202E>b<2066>c"),
    ("10%\r50%\r100%", "10%\n50%\n100%"),
    ("data.csv: bad row\r", "data.csv: bad row"),
    ("hidden\rshown\r\n", "hidden\nshown\n"),
    ("tab\tand\nline", "tab\tand\nline"),
    ("ends in cr\r\nnext", "ends in cr\nnext"),
    ("\x1b", ""),
    ("\x1b[", ""),
    ("wide 漢字 and cafe\u0301", "wide 漢字 and cafe\u0301"),
]


@pytest.mark.parametrize(("hostile", "shown"), PAYLOADS)
def test_payloads(hostile, shown):
    assert clean(hostile) == shown


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]0;31m\x07\x9b\x9d\r\n\t\x00\x7f"))))
def test_no_control_character_survives_but_newline_and_tab(text):
    shown = clean(text)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert "\n" not in clean_line(text)
    assert "\t" not in clean_line(text)


def test_a_very_long_line_is_cut_at_its_limit_and_fast():
    shown = clean("x" * 100_000_000)
    assert len(shown.encode()) <= SHOWN_BYTES
    assert shown.endswith("…")
