"""Sizes and metrics with their units."""

from __future__ import annotations

import pytest

from finetop.core.wording.units import gib, metric_words, size_word, whole_gib


def test_gib_has_the_digits_that_say_something() -> None:
    assert [gib(size) for size in (0.123, 7.83, 23.64, 141.2)] == ["0.12", "7.8", "23.6", "141"]
    assert [whole_gib(size) for size in (0.52, 7.8, 23.6)] == ["0.5", "8", "24"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (812, "812 B"), (61_440, "61.4 kB"), (10**7, "10.0 MB"), (3 * 10**12, "3,000.0 GB")],
)
def test_bytes_are_shown_in_one_unit(count: int, shown: str) -> None:
    assert size_word(count) == shown


def test_a_metric_is_written_as_words() -> None:
    assert [metric_words(key) for key in ("nats_per_token", "exact_match")] == ["nats/token", "exact match"]
