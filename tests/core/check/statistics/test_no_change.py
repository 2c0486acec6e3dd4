"""REGRESSED and an unchanged model: the exact test by enumeration, and whole checks of small suites by simulation."""

from __future__ import annotations

import itertools
import random
from math import log
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from made_checks import answers, plan_of, run
from scipy.stats import binom, binomtest

from finetop.core.check.statistics import no_change
from finetop.core.check.statistics.betting import log_mean_exp, log_wealth_of_drop, sample
from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.no_change import TaskChanges, chance_of_loss
from finetop.core.check.statistics.paired_tests import (
    chance_of_regressed,
    errors_of,
    items_for,
    level_at_the_end,
    more_items,
)
from finetop.core.check.statistics.sequential import begin, feed, next_items, pool_decision, verdict_so_far
from finetop.core.check.statistics.verdict import PairedItem
from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.wording.verdicts import verdict_line

if TYPE_CHECKING:
    from collections.abc import Sequence


ALPHA = 0.05


def flips(lost: int, won: int, same: int = 0) -> TaskChanges:
    return TaskChanges((-1,) * lost + (1,) * won + (0,) * same)


def looks_lost(task: TaskChanges, sums: Sequence[int], bar: float) -> bool:
    drawn = sample(sums, [task.largest] * len(sums), task.largest)
    return float(log_mean_exp(log_wealth_of_drop(drawn, 0.0))) >= bar


def enumerated(tasks: Sequence[TaskChanges], alpha: float) -> float:
    """Return over all sign patterns how often the whole loses as much, or a task's own evidence passes its bar."""
    bar, hits, total = log(len(tasks) / alpha), 0, 0
    seen = sum(task.weight * sum(task.sums) for task in tasks)
    sizes = [[abs(change) for change in task.sums if change] for task in tasks]
    for signs in itertools.product((-1, 1), repeat=sum(map(len, sizes))):
        left = iter(signs)
        drawn = [[next(left) * size for size in own] for own in sizes]
        loses = sum(task.weight * sum(own) for task, own in zip(tasks, drawn, strict=True)) <= seen
        hits += loses or any(looks_lost(task, own, bar) for task, own in zip(tasks, drawn, strict=True))
        total += 1
    return hits / total


@pytest.mark.parametrize(("lost", "won"), [(9, 4), (0, 0), (5, 0), (40, 21), (3, 12), (300, 250)])
def test_one_task_of_single_items_is_the_exact_mcnemar_test(lost, won):
    expected = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert chance_of_loss([flips(lost, won, 50)], ALPHA / 2) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    "tasks", [[flips(6, 1), flips(2, 3)], [flips(8, 0), flips(0, 4)], [flips(6, 0), flips(1, 2), flips(1, 2)]]
)
def test_a_lost_task_counts_as_well(tasks):
    alpha = 0.4  # at a small alpha no task with so few flips is ever lost
    changes = [change for task in tasks for change in task.sums]
    plain = float(binom.sf(changes.count(-1) - 1, len(changes), 0.5))
    exact = chance_of_loss(tasks, alpha)
    assert exact == pytest.approx(enumerated(tasks, alpha), abs=1e-12)
    assert exact > plain + 0.001
    assert no_change._drawn(tasks, log(len(tasks) / alpha)) == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize(
    "tasks",
    [
        [TaskChanges((-1, -1, -1, 1, -1), 1, 2), TaskChanges((-1, 1, -1, -1), 1, 5)],
        [TaskChanges((-3, 1, -2, -3, 2, -1, -3), 3, 1)],
    ],
    ids=["weights", "clusters"],
)
def test_weights_and_clusters_draw_signs_whatever_the_order(tasks):
    chance = chance_of_loss(tasks, 0.4)
    assert chance == pytest.approx(enumerated(tasks, 0.4), abs=0.015)
    turned = [msgspec.structs.replace(task, sums=task.sums[::-1]) for task in tasks]
    assert chance_of_loss(turned, 0.4) == chance


@pytest.mark.slow
def test_an_unchanged_model_of_three_tasks_is_regressed_at_most_alpha_of_the_time():
    # All splits of 12 flips in each of three tasks, with their exact chances: by the whole, or by a lost task.
    n, tasks, alpha = 12, 3, 0.3
    bar = log(tasks / (alpha / 2))
    lost_alone = [looks_lost(flips(0, 0), [-1] * lost + [1] * (n - lost), bar) for lost in range(n + 1)]
    assert any(lost_alone)
    rejected = 0.0
    for lost in itertools.product(range(n + 1), repeat=tasks):
        share = float(np.prod([binom.pmf(losses, n, 0.5) for losses in lost]))
        by_whole = chance_of_loss([flips(losses, n - losses) for losses in lost], alpha / 2) <= alpha
        rejected += share * (by_whole or any(lost_alone[losses] for losses in lost))
    assert 0.15 < rejected <= alpha


def check_of(lost: int, won: int, items: int, lost_to: float = 0.0) -> CheckResult:
    """Check `items` single items, all asked."""
    every = [Item("t0", f"{number:04}") for number in range(items)]
    pairs = [
        PairedItem("t0", item.item, "", float(not lost <= n < lost + won), lost_to if n < lost else 1.0)
        for n, item in enumerate(every)
    ]
    return check_pairs(plan_of(every), pairs)


def test_nine_lost_and_four_won_of_100_is_no_verdict():
    result = check_of(9, 4, 100)
    assert result.verdict == "no_verdict" and result.decided_by == ""
    assert result.chance == pytest.approx(binomtest(9, 13, alternative="greater").pvalue)
    by_chance = "which chance alone does 13 % of the time (allowed 4.9 %)"
    reason = f"lost 5.0 points on these 100 items, {by_chance}: about 250 more items"
    assert result.reason == f"{reason} would decide it."
    assert verdict_line(result) == f"NO VERDICT  {result.reason}"
    assert not any("or more" in claim or "called REGRESSED with" in claim for claim in result.claims)
    proven = check_of(9, 1, 100)
    assert proven.verdict == "regressed"
    error = "An unchanged model is called REGRESSED with probability at most 0.05; chance alone loses as much 1.1 %"
    assert error in proven.claims[1]


def test_scores_between_0_and_1_are_refuted_by_betting():
    few, many = check_of(14, 4, 100, lost_to=0.5), check_of(40, 4, 100, lost_to=0.5)
    assert (few.verdict, few.chance, many.verdict, many.chance) == ("no_verdict", None, "regressed", None)
    assert few.reason.startswith("lost 3.0 points on these 100 items, which may be chance: about ")


def test_an_ok_of_few_items_speaks_of_these_items():
    few, many = check_of(1, 1, 60), check_of(4, 4, 672)
    assert (few.verdict, many.verdict, many.low_power) == ("ok", "ok", None)
    power = few.low_power
    assert power is not None and power.drop == 0.06
    missed = f"{100 * (1 - power.chance):.0f} %"
    line = "OK  nothing lost (limit 3.0), all 60 items scored"
    ending = f"; on these items: a drop of 6 points would be missed {missed} of the time"
    assert verdict_line(few) == f"{line}{ending}"
    assert few.claims[0].startswith("Over all 60 items of 1 task the drop is under 3.0 points")
    assert few.claims[1].startswith("On these items:")
    assert "on these items" not in verdict_line(many).lower() + " ".join(many.claims).lower()
    # results of before have no chance, and no power at twice the margin
    stored = msgspec.to_builtins(few)
    del stored["chance"]
    stored["power"] = [{"drop": 0.0, "chance": 0.2}, {"drop": 0.05, "chance": 0.6}]
    assert verdict_line(read(stored)) == line


def test_before_the_end_regressed_needs_a_bar_of_a_thousand():
    # 64 of 96 items asked: 10 losses prove the margin but not that the ability fell; 24 prove both.
    every = [Item("t0", f"{number:04}") for number in range(96)]
    plan = plan_of(every)
    base = {item.key: 1.0 for item in every}
    for lost, early in ((10, False), (24, True)):
        tuned = {item.key: float(n >= lost) for n, item in enumerate(plan.order)}
        check = begin(plan)
        check = feed(check, base, {item.key: tuned[item.key] for item in next_items(check)})
        assert check.pool is not None and check.pool.decision == "regressed"
        assert (pool_decision(check) == "regressed") is early
        assert bool(next_items(check)) is not early
        assert verdict_so_far(run(check, base, tuned)) == "regressed"


@pytest.mark.parametrize(("tasks", "size", "most_flips"), [(7, 96, 0.2), (6, 500, 0.9)])
def test_quick_and_core_decide_by_the_suite_alone_as_before(tasks, size, most_flips):
    # A drop of just the margin is beyond chance there, up to this many flips: nothing stays undecided.
    items = tasks * size
    margin = -(-3 * items // 100)  # losses less wins
    for share in (0.05, 0.1, 0.15, most_flips):
        won = (round(share * items) - margin) // 2
        spread = [
            [all_of // tasks + (place < all_of % tasks) for place in range(tasks)]
            for all_of in (won + margin, won)
        ]
        chance = chance_of_loss([flips(*counts) for counts in zip(*spread, strict=True)], ALPHA / 2)
        assert chance <= level_at_the_end(ALPHA), share


@pytest.mark.parametrize(
    ("items", "share", "tasks"), [(50, 0.1, 1), (50, 0.2, 1), (100, 0.2, 1), (105, 0.2, 7), (200, 0.2, 1)]
)
def test_an_unchanged_model_is_seldom_regressed(items, share, tasks):
    draw, streams = random.Random(items), 200
    every = [Item(f"t{number % tasks}", f"{number:04}") for number in range(items)]
    plan = plan_of(every, (1.0,) * tasks)
    suite_alone = regressed = 0
    for _ in range(streams):
        base, tuned = answers(every, {}, share, draw)
        order = tuple(draw.sample(plan.order, items))
        check = run(begin(msgspec.structs.replace(plan, order=order)), base, tuned)
        regressed += verdict_so_far(check) == "regressed"
        suite_alone += check.pool is not None and check.pool.decision == "regressed"
    most = int(binom.ppf(0.999, streams, ALPHA))
    assert regressed <= most
    assert suite_alone > most, "the suites themselves fell too seldom for this to be a trial"


def test_what_a_suite_catches_and_how_many_items_it_takes():
    level = level_at_the_end(ALPHA)
    caught = [chance_of_regressed(items, 0.03, 0.1, 0.06, level) for items in (100, 200, 400)]
    assert caught == pytest.approx([0.48, 0.83, 0.98], abs=0.01)
    assert items_for(0.8, 0.03, 0.1, 0.06, level) == 200
    assert items_for(0.8, 0.03, 0.1, 0.03, level) is None  # at the margin it is a coin toss at any size
    assert more_items(100, 5, 13, errors_of(level)) == 250
    assert more_items(100, 0, 13, errors_of(level)) is None
    # The advised number catches such a drop in 4 of 5 suites, up to rounding.
    assert 0.78 < chance_of_regressed(350, 0.03, 0.13, 0.05, level) < 0.9
