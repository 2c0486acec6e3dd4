"""The sanitizer: no control sequence of an outside string reaches the terminal."""

import io
import json

import pytest
from hypothesis import given, strategies as st

from finetop.core.features.report.svg import escape
from finetop.core.text import SHOWN_BYTES, SafeWriter, clean, clean_line, json_safe, spreadsheet_cell

JOINED = "👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3 \u0645\u06cc\u200c\u062e"  # by characters that hide nothing here
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
    ("a\u200bb\ufeff\u00adc", "a<200B>b<FEFF><00AD>c"),
    ("a\u2028b\u2029c", "a<2028>b<2029>c"),
    ("a\u2060b\u3164c\U000e0041", "a<2060>b<3164>c<E0041>"),
    ("a\u200db\ufe0f", "a<200D>b<FE0F>"),
    (JOINED, JOINED),
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


@pytest.mark.parametrize(
    "sign", ["\u200b", "\u2028", "\u2029", "\u202e", "\ufeff", "\U000e0041", "\x7f", "\x9b"]
)
def test_what_shows_nothing_reaches_neither_a_terminal_nor_a_page(sign):
    out = io.StringIO()
    SafeWriter(out).write(f"a{sign}b")
    written = json_safe(json.dumps({"a": sign}, ensure_ascii=False))
    for shown in (out.getvalue(), clean_line(f"a{sign}b"), escape(f"a{sign}b"), written):
        assert sign not in shown
    assert json.loads(written) == {"a": sign}


@pytest.mark.parametrize(
    "cell",
    ["=1", "+1+1", "-cmd", "@x", " =1", "\u00a0=1", "\u3000=1", "\t=1", "\r=1", "\n=1", "\r\n=1", "\t",
     "＝1", "＋1", "－1", " ＠x", "\x1b[1m=1", "\x00=1"],
)  # fmt: skip
def test_no_cell_begins_as_a_formula(cell):
    assert spreadsheet_cell(cell).startswith("'")


def test_what_is_no_formula_stays():
    for cell in ("-", "-5", "+5e3", "-1,200.5", ".5", "ok", "a=1", "", "REGRESSED", "-9.1"):
        assert spreadsheet_cell(cell) == cell


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
