"""Sizes and metrics with their units."""

import pytest

from finetop.core.wording.units import gib, metric_words, plus_minus, rounded, size_word, whole_gib


def test_gib_has_the_digits_that_say_something():
    assert [gib(size) for size in (0.123, 7.83, 23.64, 141.2)] == ["0.12", "7.8", "23.6", "141"]
    assert [whole_gib(size) for size in (0.52, 7.8, 23.6)] == ["0.5", "8", "24"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (812, "812 B"), (61_440, "61.4 kB"), (10**7, "10.0 MB"), (3 * 10**12, "3,000.0 GB")],
)
def test_bytes_are_shown_in_one_unit(count, shown):
    assert size_word(count) == shown


def test_a_metric_is_written_as_words():
    assert [metric_words(key) for key in ("nats_per_token", "exact_match")] == ["nats/token", "exact match"]


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (2.976, (3.0,), "2.98"),
        (3.0, (3.0,), "3.0"),
        (2.99999, (3.0,), "2.99"),
        (3.004, (3.0,), "3.01"),
        (-0.02, (0.0,), "-0.02"),
    ],
)
def test_a_number_is_rounded_on_its_side_of_a_bound(value, bounds, words):
    assert rounded(value, *bounds) == words


def test_a_mean_and_half_its_interval_tell_alike_whether_0_is_in_it():
    assert plus_minus(0.0302, 0.0298, 3) == ("0.0302", "0.0298")
    assert plus_minus(-0.09, 0.0, 3) == ("-0.090", "0.000")
    assert plus_minus(-0.0001, 0.2, 2) == ("0.00", "0.20")
