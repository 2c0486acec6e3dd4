"""Patches of answers: between any two answers, and small if little changed."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from finetop.core.protocol.patch import DoesNotFit, difference, patched

leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "="])
keys = st.sampled_from("=oxan+b")
answers = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def through_json(value):
    return msgspec.json.decode(msgspec.json.encode(value))


@given(old=answers, new=answers)
def test_a_patch_makes_any_answer_of_any_other(old, new):
    before = msgspec.json.encode(old)
    result = patched(old, through_json(difference(old, new)))
    assert as_json(result) == as_json(new)
    assert msgspec.json.encode(old) == before, "the old one has changed"
    assert difference(new, through_json(new)) is None, "what is the same needs no patch"
    assert patched(new, None) == new


def as_json(value):
    """Return an answer as JSON: 1 is not 1.0 and not true."""
    return msgspec.json.encode(value, order="sorted")


def test_one_number_in_a_list_of_rows_is_a_short_patch():
    rows = [{"id": n, "name": f"run-{n}", "metrics": {"loss": 1.0, "drift": 0.1}} for n in range(100)]
    newer = through_json(rows)
    newer[40]["metrics"]["loss"] = 0.5
    patch = difference({"rows": rows}, {"rows": newer})
    assert patch == {"o": {"rows": {"a": {"40": {"o": {"metrics": {"o": {"loss": {"=": 0.5}}}}}}}}}


def test_a_patch_of_another_answer_is_refused():
    for patch in (
        {"o": {"gone": {"a": {}}}}, {"a": {"7": {"=": 1}}}, {"a": {}, "n": 9}, {"o": 3}, {}, {"a": {"x": {"=": 1}}},
    ):  # fmt: skip
        with pytest.raises(DoesNotFit):
            patched([1, 2], patch)
