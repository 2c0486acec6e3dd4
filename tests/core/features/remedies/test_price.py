"""The estimated time of trying a remedy: from measurements, nearest first."""

import pytest

from finetop.core.features.remedies import wording as remedies
from finetop.core.features.remedies.messages import RemediesAnswer
from finetop.core.features.remedies.price import price
from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.runs import RemedyRow


def check(seconds, scored, total=672):
    items = {"items_used": scored, "items_scored": scored, "items_total": total}
    return CheckResult(verdict="regressed", reason="", margin=0.03, seconds=seconds, **items)


def tried(seconds, total=336):
    return RemedyRow("x", "x", "x", 1, verdict="ok", items_used=192, items_total=total, seconds=seconds)


def test_a_remedy_is_priced_by_this_run_s_remedies_else_by_others_else_by_checks():
    checks = [check(4.0, 64)]
    assert price([], [], checks) == pytest.approx(21.0), "a check may stop early, a remedy scores up to 336"
    slow = [check(67.2, 672)]
    assert price([], [], [check(0.4, 672), *slow]) == price([], [], slow), "the other was in the cache"
    own = [tried(66.0), tried(70.0), tried(60.0)]
    assert price(own, [tried(9.0)], checks) == pytest.approx(66.0)
    assert price([tried(0.2), tried(0.2), *own], [], []) == pytest.approx(66.0), "two were in the cache"
    assert price([tried(0.2)], [], slow) == pytest.approx(33.6), "all were: the check says more"
    assert price([tried(0.0, 0)], [tried(66.0)], checks) == pytest.approx(66.0)
    longer = price([], [tried(66.0)], [check(4.0, 64, total=2000)])
    assert longer == pytest.approx(66.0 / 336 * 1000), "of as many items"
    assert price([], [], []) is None and price([], [], [check(0.0, 0)]) is None


def test_all_that_is_left_is_priced_with_confirming_the_best():
    rows = [RemedyRow(str(number), "x", "x", 1) for number in range(9)]
    answer = RemediesAnswer("run", 1, "", {}, 3.0, None, rows, [], price_s=60.0, confirming_s=60.0)
    assert remedies.price(answer) == ": about 10 min, no retraining"
