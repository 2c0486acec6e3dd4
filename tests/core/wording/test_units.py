"""Sizes and metrics with their units."""

from finetop.core.wording.units import gib, metric_words, plus_minus, rounded, size_word, whole_gib


def test_sizes_and_metrics_have_the_digits_and_words_that_say_something():
    assert [gib(size) for size in (0.123, 7.83, 23.64, 141.2)] == ["0.12", "7.8", "23.6", "141"]
    assert [whole_gib(size) for size in (0.52, 7.8, 23.6)] == ["0.5", "8", "24"]
    sizes = [size_word(count) for count in (0, 812, 61_440, 10**7, 3 * 10**12)]
    assert sizes == ["0 B", "812 B", "61.4 kB", "10.0 MB", "3,000.0 GB"]
    assert [metric_words(key) for key in ("nats_per_token", "exact_match")] == ["nats/token", "exact match"]


def test_a_number_is_rounded_on_its_side_of_a_bound():
    near = [rounded(value, 3.0) for value in (2.976, 3.0, 2.99999, 3.004)]
    assert [*near, rounded(-0.02, 0.0)] == ["2.98", "3.0", "2.99", "3.01", "-0.02"]
    # A mean and half its interval tell alike whether 0 is in it.
    assert plus_minus(0.0302, 0.0298, 3) == ("0.0302", "0.0298")
    assert plus_minus(-0.09, 0.0, 3) == ("-0.090", "0.000")
    assert plus_minus(-0.0001, 0.2, 2) == ("0.00", "0.20")
