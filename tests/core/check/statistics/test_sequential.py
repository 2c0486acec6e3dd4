"""The driver on weighted suites, on a task that collapses alone, and on many fresh streams."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from made_checks import Scores, answers, pairs_of, plan_of, run, suite

from finetop.core.check.statistics import sequential
from finetop.core.check.statistics.betting import exact
from finetop.core.check.statistics.conclude import check_pairs, conclude
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.no_change import TaskChanges
from finetop.core.check.statistics.paired_tests import level_at_the_end
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.sequential import (
    begin,
    feed,
    next_items,
    pool_decision,
    sample_of_pool,
    verdict_so_far,
)
from finetop.core.check.statistics.verdict import CheckPlan, TaskPlan

if TYPE_CHECKING:
    from finetop.core.protocol.check_result import CheckResult


def shuffled(plan: CheckPlan, draw: random.Random) -> CheckPlan:
    """Put the (single) items into an order of this stream's own."""
    return msgspec.structs.replace(plan, order=tuple(draw.sample(plan.order, len(plan.order))))


def test_equal_weights_of_any_size_give_the_very_same_result():
    items = suite(60, 90, 50)
    base, tuned = answers(items, {"t1": 0.08}, 0.1, random.Random(2))
    pairs = pairs_of(items, base, tuned)
    for until in ("decided", "all"):
        one, other = (check_pairs(plan_of(items, (weight,) * 3), pairs, until=until) for weight in (1.0, 7.3))  # type: ignore[arg-type]
        assert one == other
        assert not one.weighted


score = st.one_of(st.sampled_from([0.0, 1.0]), st.integers(0, 10).map(lambda tenths: tenths / 10))
weights = st.sampled_from([0.25, 1.0, 1.5, 2.0, 5.0])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(weights, min_size=2, max_size=4),
    st.lists(st.tuples(score, score, st.integers(0, 3), st.integers(0, 5)), min_size=4, max_size=60),
    st.integers(1, 40),
)
def test_all_items_tell_the_weighted_truth(given_weights, drawn, percent):
    tasks = len(given_weights)
    items = [Item(f"t{task % tasks}", str(n), str(cluster)) for n, (_, _, task, cluster) in enumerate(drawn)]
    base, tuned = ({item.key: row[side] for item, row in zip(items, drawn, strict=True)} for side in (0, 1))
    result = check_pairs(plan_of(items, given_weights, margin=percent / 100), pairs_of(items, base, tuned))
    weigh = {item.key: Fraction(given_weights[int(item.task[1:])]) for item in items}
    lost = sum(weigh[key] * (exact(base[key]) - exact(tuned[key])) for key in base)
    drop = lost / sum(weigh.values())
    assert result.items_used == len(drawn)
    assert result.drop == pytest.approx(float(drop))
    assert result.base is not None and result.tuned is not None
    assert result.base - result.tuned == pytest.approx(float(drop))
    if result.decided_by == "task":
        assert any(task.mark == "lost" for task in result.tasks)
    else:
        assert (result.verdict, result.decided_by) == expected(result, fallen=drop >= Fraction(percent, 100))


def expected(result: CheckResult, *, fallen: bool) -> tuple[str, str]:
    """Return the verdict over all items and what decides it, if no task does."""
    if not fallen:
        return ("ok", "arithmetic")
    by_betting = result.verdict == "regressed"  # of scores between 0 and 1
    is_proven = by_betting if result.chance is None else result.chance <= level_at_the_end(0.05)
    return ("regressed", "arithmetic") if is_proven else ("no_verdict", "")


def test_an_item_of_weight_3_is_three_items_that_always_go_together():
    single = suite(40, 40)
    base, tuned = answers(single, {"t1": 0.3}, 0.2, random.Random(4))
    copies = {item.key: (item,) for item in single[:40]}
    for heavy in single[40:]:
        copies[heavy.key] = tuple(Item("t1", f"{heavy.item}.{copy}", heavy.item) for copy in range(3))
    weighted = plan_of(single, (1.0, 3.0))
    clustered = plan_of([copy for item in single for copy in copies[item.key]], (1.0, 1.0))
    order = tuple(copy for item in weighted.order for copy in copies[item.key])
    clustered = msgspec.structs.replace(clustered, order=order)

    def scored(scores: Scores) -> Scores:
        return {copy.key: scores[item.key] for item in single for copy in copies[item.key]}

    checks = [begin(weighted), begin(clustered)]
    for item in weighted.order:
        checks[0] = feed(checks[0], base, {item.key: tuned[item.key]})
        checks[1] = feed(checks[1], scored(base), {copy.key: tuned[item.key] for copy in copies[item.key]})
        pools = [check.pool for check in checks]
        assert pools[0] is not None and pools[1] is not None
        assert pools[0].log_evidence == pytest.approx(pools[1].log_evidence, abs=1e-9)
        assert pools[0].decision == pools[1].decision
    one, other = map(conclude, checks)
    assert (one.interval, one.drop) == (other.interval, other.drop)
    assert one.lost != other.lost, "flips count items, not weight"
    assert sample_of_pool(checks[0]).sizes.max() == 1.0


def test_the_heaviest_task_decides_and_it_is_said():
    # 8 of 100 lost in one task of three: 2.7 points over the items, 6.0 if that task weighs 6 of 8.
    items = suite(100, 100, 100)
    base: Scores = {item.key: 1.0 for item in items}
    tuned = {key: float(key[0] != "t2" or int(key[1]) >= 8) for key in base}
    pairs = pairs_of(items, base, tuned)
    even, heavy = (check_pairs(plan_of(items, weight), pairs) for weight in ((1.0,) * 3, (0.5, 0.5, 3.0)))
    assert (even.verdict, heavy.verdict) == ("ok", "regressed")
    assert (heavy.drop, heavy.base, heavy.tuned) == pytest.approx((0.06, 1.0, 0.94))
    assert (heavy.lost, heavy.won) == (even.lost, even.won) == (8, 0)
    assert heavy.mcnemar_p == even.mcnemar_p
    assert heavy.reason.startswith("6.0 points lost, weighted (limit 3.0), all 300 items scored")
    assert heavy.reason.endswith("; worst: t2 -8.0, not proven alone.")
    claim = "Over all 300 items of 3 tasks, weighted by task, the drop is 3.0 points or more"
    assert heavy.claims[0].startswith(claim)
    by_weight, evenly = ([(task.drop, task.e_value) for task in each.tasks] for each in (heavy, even))
    assert by_weight == evenly
    # A weighted suite is as good as one with fewer items, (0.5 + 0.5 + 3)^2 / (0.5^2 + 0.5^2 + 3^2) of 3.
    assert heavy.power[-1].chance < even.power[-1].chance


def test_wrong_verdicts_of_weighted_suites_stay_below_alpha(monkeypatch):
    # Drops close to the margin: all of it in the heaviest task, in the lightest, or spread.
    # Once all is asked, chance does not depend on the order: it is drawn once for all streams.
    drawn = cache(sequential.chance_of_loss)

    def chance_of_loss(tasks: list[TaskChanges], alpha: float) -> float:
        changes = (msgspec.structs.replace(task, sums=tuple(sorted(task.sums))) for task in tasks)
        return drawn(tuple(changes), alpha)

    monkeypatch.setattr(sequential, "chance_of_loss", chance_of_loss)
    items, alpha, streams = suite(*[30] * 5), 0.4, 100
    draw = random.Random(7)
    wrong_of = {}
    plan = plan_of(items, (1, 2, 3, 4, 5), alpha=alpha)
    losses = {"heaviest": (0, 0, 0, 0, 3), "lightest": (13, 0, 0, 0, 0), "spread": (1, 1, 1, 1, 1)}
    for name, lost in losses.items():
        base: Scores = {item.key: 1.0 for item in items}
        tuned = {key: float(int(key[1]) >= lost[int(key[0][1])]) for key in base}
        for number, key in enumerate(key for key in base if tuned[key] and int(key[1]) > 20):
            if number % 5 < 2:  # flips that cancel: as many lost as won in every task
                base[key], tuned[key] = (1.0, 0.0) if number % 5 else (0.0, 1.0)
        drop = sum((1 + int(key[0][1])) * (base[key] - tuned[key]) for key in base) / (15 * 30)
        truth = "regressed" if drop >= 0.03 else "ok"
        wrong = 0
        for _ in range(streams):
            check = run(begin(shuffled(plan, draw)), base, tuned)
            assert check.pool is not None
            wrong += check.pool.decision not in (None, truth)  # None if a fallen task came first
        assert wrong / streams <= alpha + 3 * (alpha * (1 - alpha) / streams) ** 0.5, name
        wrong_of[name] = wrong
    assert sum(wrong_of.values()) > 0, "no order was ever wrong: the bound was not tried"


def test_a_task_that_collapses_alone_is_found_and_named():
    items, draw, streams = suite(*[100] * 7), random.Random(5), 60
    plan = plan_of(items, (1.0,) * 7)
    regressed = named = for_nothing = gone_on = 0
    for _ in range(streams):
        base, tuned = answers(items, {"t3": 0.4}, 0.1, draw)
        check = run(begin(shuffled(plan, draw)), base, tuned)
        lost = {name for name, task in check.tasks.items() if task.mark == "lost"}
        regressed += verdict_so_far(check) == "regressed"
        named += lost == {"t3"}
        for_nothing += bool(lost - {"t3"})
        reason = conclude(check).reason
        assert ("t3 -" in reason) == ("t3" in lost or "worst: t3" in reason)
        gone_on += check.consumed < len(check.tuned)
    assert (regressed, for_nothing) == (streams, 0) and named >= streams - 2
    assert gone_on > 0, "no check went on for the task alone"


@pytest.mark.parametrize("until", ["all", "decided"])
@pytest.mark.parametrize(("lost", "won", "expected"), [(23, 5, "ok"), (28, 10, "ok"), (20, 2, "regressed")])
def test_no_order_of_the_items_changes_the_answer(until, lost, won, expected):
    """Seven times 96 items: one task down 18.8 points, the pool just under the limit, as in a real model."""
    base, tuned = {}, {}
    for item in suite(*[96] * 7):
        number, (less, more) = int(item.item), (lost, won) if item.task == "t0" else (4, 4)
        base[item.key] = float(number < less or less + more <= number < 60)
        tuned[item.key] = float(less <= number < 60)
    items = suite(*[96] * 7)
    pairs = pairs_of(items, base, tuned)
    tasks = [TaskPlan(f"t{number}", "acc", 0.0) for number in range(7)]
    plans = [make_plan(tasks, items, base, seed=seed, cap=None) for seed in range(12)]
    assert {check_pairs(plan, pairs, until=until).verdict for plan in plans} == {expected}


def test_the_pool_regressed_goes_on_for_one_suspicious_task_and_not_for_many():
    # t0 loses every third item, the others one in twenty: the pool is proven first, t0 is named by its own items.
    items = suite(*[60] * 5)
    base: Scores = {item.key: 1.0 for item in items}
    draw = random.Random(1)
    last_asked = set()
    for _ in range(12):
        tuned = {key: float(draw.random() > (0.34 if key[0] == "t0" else 0.05)) for key in base}
        check = begin(shuffled(plan_of(items, (1.0,) * 5), draw))
        while look := next_items(check):
            before = check
            check = feed(check, base, {item.key: tuned[item.key] for item in look})
            if pool_decision(before) == "regressed":
                last_asked |= {item.task for item in look}
    assert last_asked == {"t0"}
    even = {key: float(int(key[1]) % 3 > 0) for key in base}
    check = run(begin(plan_of(items, (1.0,) * 5)), base, even)
    assert verdict_so_far(check) == "regressed"
    assert check.consumed == len(check.tuned) <= 128


def test_single_items_beside_large_clusters_keep_their_own_stakes():
    # Bets on a task use its own largest cluster; with the suite's, 12 losses of 60 would prove nothing here.
    passages = [Item("t1", f"{n:03}", f"passage {n // 10}") for n in range(60)]
    items = [*suite(60), *passages]
    base: Scores = {item.key: 1.0 for item in items}
    tuned = {key: float(key[0] == "t1" or int(key[1]) >= 12) for key in base}
    pairs = pairs_of(items, base, tuned)
    alone = check_pairs(plan_of(items[:60]), pairs[:60])
    beside = check_pairs(plan_of(items, (1.0, 1.0)), pairs)
    assert beside.tasks[0].interval == alone.tasks[0].interval
    assert beside.tasks[0].mark == alone.tasks[0].mark == "lost"
