"""General text for protections: measured text is left out, and windows cover all of the rest."""

import pytest
from transformers import AutoTokenizer

from finetop.core.errors import BadInput
from finetop.core.train.protections import _text


def test_windows_are_of_what_nobody_measures(tiny_model, home, recipe_of):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    whole = tokenizer((home.root / "suites" / "general.txt").read_text()).input_ids
    left = (len(whole) - _text.MEASURED) // 32
    found = _text.windows("protect.x", None, 32, 10**6, recipe_of(), tokenizer, home)
    assert [token for window in found for token in window] == whole[_text.MEASURED :][: 32 * left]
    few = _text.windows("protect.x", None, 32, 4, recipe_of(), tokenizer, home)
    assert few == [found[at * left // 4] for at in range(4)]


def test_text_of_a_file(tiny_model, home, recipe_of):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    file = home.root / "own.txt"
    file.write_text("The shop opens at nine. " * 20)
    (first, *_) = _text.windows("protect.x", str(file), 8, 100, recipe_of(), tokenizer, home)
    assert tokenizer.decode(first).startswith("The shop opens")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"protect\.x\.text: can't read"):
        _text.windows("protect.x", str(file), 8, 100, recipe_of(), tokenizer, home)
