"""Durations: one unit in a cell, two in a sentence, more digits where two are compared."""

from finetop.core.wording.durations import exact_span, long_span, short_span


def test_two_units_at_most():
    assert [long_span(s) for s in (0, 0.28, 59, 59.7, 61, 3540, 3600, 6288, 7500, 200_000)] == [
        "0 s", "0.3 s", "59 s", "1 min", "1 min", "59 min", "1 h", "1 h 44 min", "2 h 5 min", "2 days",
    ]  # fmt: skip


def test_one_unit_in_a_cell_and_digits_where_two_are_compared():
    assert [short_span(s) for s in (-3, 5, 380, 10_800, 190_000)] == ["0 s", "5 s", "6 m", "3 h", "2 d"]
    compared = [exact_span(s) for s in (0, 0.0412, 3.214, 12.3, 210)]
    assert compared == ["0 s", "0.041 s", "3.21 s", "12 s", "3.5 min"]
