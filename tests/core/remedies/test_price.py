"""The estimated time of trying a remedy: from measurements, nearest first."""

import pytest

from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.messages.remedies import RemediesAnswer
from finetop.core.protocol.runs import RemedyRow
from finetop.core.remedies._price import price
from finetop.core.wording import remedies


def check(seconds: float, scored: int, total: int = 672) -> CheckResult:
    return CheckResult(
        verdict="regressed", reason="", margin=0.03, items_used=scored, items_scored=scored,
        items_total=total, seconds=seconds,
    )  # fmt: skip


def tried(seconds: float, total: int = 336) -> RemedyRow:
    return RemedyRow("x", "x", "x", 1, verdict="ok", items_used=192, items_total=total, seconds=seconds)


def test_a_check_that_stopped_early_does_not_make_remedies_cheap() -> None:
    """4 seconds for 64 items: a remedy scores up to 336."""
    price_found = price([], [], [check(4.0, 64)])
    assert price_found is not None
    assert price_found.one_s == pytest.approx(21.0) and price_found.confirming_s == pytest.approx(21.0)


def test_one_that_read_its_scores_from_the_cache_tells_nothing() -> None:
    assert price([], [], [check(0.4, 672), check(67.2, 672)]) == price([], [], [check(67.2, 672)])


def test_what_remedies_took_counts_more_than_checks_and_this_runs_most() -> None:
    checks = [check(4.0, 64)]
    own = price([tried(66.0), tried(70.0), tried(60.0)], [tried(9.0)], checks)
    assert own is not None and own.one_s == pytest.approx(66.0)
    others = price([tried(0.0, 0)], [tried(66.0)], checks)
    assert others is not None and others.one_s == pytest.approx(66.0)
    longer = price([], [tried(66.0)], [check(4.0, 64, total=2000)])
    assert longer is not None and longer.one_s == pytest.approx(66.0 / 336 * 1000), "of as many items"


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert price([], [], []) is None
    assert price([], [], [check(0.0, 0)]) is None


def test_all_that_is_left_is_priced_with_confirming_the_best() -> None:
    rows = [RemedyRow(str(number), "x", "x", 1) for number in range(9)]
    price_found = RemediesAnswer("run", 1, "", {}, 3.0, None, rows, [], price_s=60.0, confirming_s=60.0)
    assert remedies.price(price_found) == ": about 10 min, no retraining"
