"""The coefficient of the divergence: fixed, or moved towards its target and never by much."""

from __future__ import annotations

import pytest

from finetop.core.train.ppo.kl import adapted


def test_it_stays_without_a_target() -> None:
    assert adapted(0.05, 99.0, None, 100, 100) == 0.05


@pytest.mark.parametrize(
    ("kl", "factor"), [(6.0, 1.0), (6.6, 1.01), (60.0, 1.02), (5.4, 0.99), (0.0, 0.98), (-3.0, 0.98)]
)
def test_it_moves_by_the_relative_error_at_most_a_fifth_in_a_horizon(kl: float, factor: float) -> None:
    assert adapted(0.2, kl, 6.0, 1000, 100) == pytest.approx(0.2 * factor)


def test_it_finds_a_coefficient_that_keeps_the_target() -> None:
    coefficient = 0.01
    for _ in range(600):  # a policy that moves the further, the less it costs
        coefficient = adapted(coefficient, 1.0 / coefficient, 5.0, 1000, 200)
    assert 1.0 / coefficient == pytest.approx(5.0, rel=0.01)
