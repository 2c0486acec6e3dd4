"""Tags and notes as typed by users."""

import pytest
from hypothesis import given, strategies as st

from finetop.core.errors import BadInput
from finetop.core.protocol.tags import Noted, read_noted


def test_a_line_puts_on_takes_off_and_notes():
    noted = Noted(("keep", "seed:1"), ("draft",), 'say "hi"')
    assert read_noted('+keep -draft seed:1 "say \\"hi\\""') == noted
    assert read_noted('""') == Noted(note="")
    assert read_noted("") == Noted()


def test_faults_say_what_to_type():
    for text, fault in (
        ("+", "'+' is not a tag. 1 to 40 letters"),
        ('"a" "b"', "a run has one note"),
        ('+a "b', '"b: the quote is not closed'),
        ("+a -a", "a can't be both added and removed"),
    ):
        with pytest.raises(BadInput) as raised:
            read_noted(text)
        assert fault in str(raised.value)


@given(st.text(alphabet=st.sampled_from('+-"\\ ab\x1bé\ud800') | st.characters(), max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        noted = read_noted(text)
    except BadInput:
        return
    assert all(tag.isprintable() for tag in noted.add + noted.drop)
