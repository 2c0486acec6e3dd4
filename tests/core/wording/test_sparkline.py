"""A sparkline spans its values, and draws equal ones flat, whatever the last digit of their means."""

from finetop.core.wording.sparkline import sparkline


def test_it_spans_its_values_and_equal_ones_are_flat() -> None:
    assert sparkline([0.0, 0.5, 1.0], 3) == "▁▅█"
    assert sparkline([0.1] * 10, 4) == "▁▁▁▁"  # .1 and .1 + 1e-17
    assert sparkline([], 4) == ""
