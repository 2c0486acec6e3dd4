from __future__ import annotations

import random
from math import exp
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from made_checks import Scores, pairs_of, run, suite
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar
from work import calls_of

from finetop.core.check.statistics.conclude import check_pairs, conclude
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.paired_tests import (
    chance_of_regressed,
    count_flips,
    level_at_the_end,
    mcnemar_p,
    measure,
    sum_flips,
)
from finetop.core.check.statistics.plan import choose_items, make_plan
from finetop.core.check.statistics.sequential import begin, feed, next_items, suspicious_tasks, verdict_so_far
from finetop.core.check.statistics.task_evidence import TaskEvidence, marked
from finetop.core.check.statistics.verdict import CheckPlan, PairedItem, TaskPlan
from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import CheckResult
from finetop.core.wording.verdicts import change, interval, word


def plan_of(items: list[Item], base: Scores, chance: float = 0.0, margin: float = 0.03) -> CheckPlan:
    tasks = [TaskPlan(name, "exact_match", chance) for name in sorted({item.task for item in items})]
    return make_plan(tasks, items, base, seed=1, cap=None, margin=margin)


def flip(items: list[Item], lost: dict[str, int], won: dict[str, int]) -> tuple[Scores, Scores]:
    """Return scores with the given numbers lost and won in each task; every tenth item is wrong on both sides."""
    base: Scores = {}
    tuned: Scores = {}
    for item in items:
        number = int(item.item)
        right = float(number % 10 != 9)
        base[item.key] = tuned[item.key] = right
        if number < lost.get(item.task, 0):
            base[item.key], tuned[item.key] = 1.0, 0.0
        elif number >= 1000 - won.get(item.task, 0) or 50 <= number < 50 + won.get(item.task, 0):
            base[item.key], tuned[item.key] = 0.0, 1.0
    return base, tuned


def test_an_unchanged_model_is_ok_early_and_a_collapse_is_regressed_at_the_first_look():
    items = suite(*[100] * 7)
    base, tuned = flip(items, {}, {})
    result = conclude(run(begin(plan_of(items, base)), base, tuned))
    assert (word(result), result.decided_by) == ("OK", "betting")
    assert result.items_used == result.items_scored < 350
    assert (result.items_total, result.drop, result.proven_drop) == (700, 0, False)
    assert (result.lost, result.won, result.mcnemar_p, result.discordance) == (0, 0, 1.0, 0.0)
    proven = f"proven on {result.items_used} of 700 items: the suite's drop is under the limit."
    assert result.reason == f"nothing lost (limit 3.0), {proven}"
    assert result.claims[0].startswith(
        "Over all 700 items of 7 tasks the drop is under 3.0 points; wrong with"
    )
    base, tuned = flip(items, {f"t{task}": 40 for task in range(7)}, {})
    result = check_pairs(plan_of(items, base), pairs_of(items, base, tuned), until="decided")
    assert (word(result), result.decided_by, result.items_used) == ("REGRESSED", "betting", 64)
    assert result.proven_drop and result.interval is not None and result.interval[0] > 0.03


def test_a_collapsed_task_is_not_hidden_by_an_ok_pool_and_a_noisy_one_does_not_hold_back_an_ok():
    items = suite(*[100] * 8)
    base, tuned = flip(items, {"t3": 20}, {f"t{task}": 8 for task in range(8) if task != 3})
    held_back: set[tuple[str, ...]] = set()
    asked: set[str] = set()
    check = begin(plan_of(items, base))
    while look := next_items(check):
        decided = check.pool is not None and check.pool.decision is not None
        asked = {item.task for item in look}
        check = feed(check, base, {item.key: tuned[item.key] for item in look})
        if check.pool and check.pool.decision == "ok" and verdict_so_far(check) is None:
            held_back.add(suspicious_tasks(check))
            if not decided:  # stopped now
                stopped = conclude(check)
    assert (word(stopped), "may be lost: t3 -" in stopped.reason) == ("NO VERDICT", True)
    result = conclude(check)
    assert held_back == {("t3",)}
    assert asked == {"t3"}
    assert (word(result), result.decided_by) == ("REGRESSED", "task")
    assert [task.task for task in result.tasks if task.mark == "lost"] == ["t3"]
    assert result.items_used < result.items_scored < 800
    assert result.reason.startswith("a task is lost: t3 -")
    assert result.drop is not None and result.drop < 0
    base, tuned = flip(items, {"t3": 5}, {"t3": 1, **{f"t{task}": 3 for task in range(8) if task != 3}})
    check = run(begin(plan_of(items, base)), base, tuned)
    assert word(conclude(check)) == "OK" and len(check.tuned) < 800


def test_a_check_can_go_on_to_certainty_or_be_stopped_and_says_so():
    items = suite(*[100] * 4)
    base, tuned = flip(items, {}, {})
    stopped = run(begin(plan_of(items, base)), base, tuned)
    assert verdict_so_far(stopped) == "ok"
    late = {item.key: 0.0 for item in items if item.key not in stopped.tuned}
    result = conclude(run(begin(plan_of(items, base), until="all"), base, {**tuned, **late}))
    assert (word(result), result.decided_by, result.items_used) == ("REGRESSED", "arithmetic", 400)
    assert result.plan_hash == stopped.plan.hash  # the same items in the same order: no other claim
    items = suite(*[100] * 3)
    base, tuned = flip(items, {"t0": 8, "t1": 8}, {"t2": 8})
    check = begin(plan_of(items, base))
    reason = "stopped after 0 of 300 items, before either answer was proven (limit 3.0 points)."
    assert conclude(check).reason == reason
    check = feed(check, base, {item.key: tuned[item.key] for item in next_items(check)})
    result = conclude(check)
    assert word(result) == "NO VERDICT" and result.drop is not None
    assert result.reason.startswith("stopped after 64 of 300 items")


@pytest.mark.parametrize(
    ("drop", "n", "is_proven", "is_sure", "mark"),
    [(0.03, 50, True, True, "lost"), (0.03, 50, True, False, "open"), (0.03, 100, True, False, "lost"),
     (0.03, 100, False, True, "open"), (0.029, 100, True, True, "open")],
)  # fmt: skip
def test_a_task_is_lost_if_its_proven_drop_is_the_limit_and_no_order_changes_that(
    drop, n, is_proven, is_sure, mark
):
    items = suite(100)
    plan = plan_of(items, flip(items, {}, {})[0])
    task = marked(plan, TaskEvidence(n=n, total=100, drop=drop), is_proven=is_proven, is_sure=is_sure)
    assert (task.mark, task.fallen) == (mark, is_proven and drop >= plan.margin)


def test_every_item_of_a_task_is_asked_where_that_is_wanted():
    items = suite(*[100] * 7)
    base, tuned = flip(items, {"t1": 4}, {})
    plan = plan_of(items, base)
    stopped = conclude(run(begin(plan), base, tuned))
    asked_tasks: list[set[str]] = []
    check = begin(plan, whole_tasks=["t1"])
    while look := next_items(check):
        if check.pool is not None and (check.pool.decision or verdict_so_far(check)):
            asked_tasks.append({item.task for item in look})
        check = feed(check, base, {item.key: tuned[item.key] for item in look})
    result = conclude(check)
    assert asked_tasks and set().union(*asked_tasks) == {"t1"}  # once it is decided, only items of this task
    rows = {task.task: task for task in result.tasks}
    before = {task.task: task for task in stopped.tasks}
    assert rows["t1"].n == rows["t1"].total == 100 > before["t1"].n
    assert (rows["t1"].lost, rows["t1"].drop) == (4, 0.04)
    assert result.items_scored < 700
    narrow, wide = rows["t1"].interval, before["t1"].interval
    assert narrow is not None and wide is not None and narrow[1] - narrow[0] < wide[1] - wide[0]
    with pytest.raises(BadInput, match="there is no task 't9' that could show a drop"):
        begin(plan, whole_tasks=["t9"])


def test_alpha_is_shared_so_that_each_answer_is_wrong_at_most_alpha():
    items = suite(*[60] * 2)
    base, tuned = flip(items, {"t0": 11}, {"t1": 12})
    check = begin(plan_of(items, base), until="all")
    assert check.pool is not None
    assert (check.pool.alpha_regressed, check.pool.alpha_ok) == (0.025, 0.05)
    lost = {name for name, task in run(check, base, tuned).tasks.items() if task.mark == "lost"}
    assert lost == {"t0"}  # 11 of 60: evidence of 94, past 2 tasks at alpha/2 (80)
    base, tuned = flip(items, {"t0": 10}, {"t1": 12})
    tasks = run(begin(plan_of(items, base), until="all"), base, tuned).tasks
    assert tasks["t0"].mark == "open"  # 56 is past 40, the bar at alpha, but not past 80
    assert exp(tasks["t0"].of_drop) == pytest.approx(55.9, abs=0.1)


def test_unmeasurable_tasks_leave_and_say_why():
    near = "no verdict. The base model scores {}, within 3 standard errors of chance (0.250); a drop could not be seen."
    items = [Item("hellaswag", str(n)) for n in range(500)] + [Item("arc", str(n)) for n in range(100)]
    right = {"hellaswag": 131, "arc": 80}
    base: Scores = {item.key: float(int(item.item) < right[item.task]) for item in items}
    plan = plan_of(items, base, chance=0.25)
    assert [task.name for task in plan.tasks] == ["arc"]
    assert {item.task for item in plan.order} == {"arc"}
    assert plan.unmeasurable[0].reason == f"hellaswag: {near.format('0.262')}"
    result = check_pairs(plan, pairs_of(items, base, base))
    assert word(result) == "OK"
    assert {task.task: task.mark for task in result.tasks} == {"arc": "open", "hellaswag": "unmeasurable"}
    assert [task.task for task in result.tasks] == ["arc", "hellaswag"]
    items = suite(50, 50)  # no task is measurable
    check = begin(plan_of(items, {item.key: float(int(item.item) < 13) for item in items}, chance=0.25))
    assert (next_items(check), verdict_so_far(check)) == ((), "no_verdict")
    result = conclude(check)
    assert word(result) == "NO VERDICT" and f"t0: {near.format('0.260')}" in result.reason
    assert [task.mark for task in result.tasks] == ["unmeasurable", "unmeasurable"]


def test_measure():
    assert measure([[1.0]] * 44 + [[0.0]] * 56, 0.25).measurable
    assert not measure([[1.0]] * 37 + [[0.0]] * 63, 0.25).measurable
    assert not measure([[1.0]] * 33 + [[0.0]] * 67, 0.68).measurable  # far below the majority label
    assert not measure([[0.0]] * 100, 0.0).measurable
    assert measure([[1.0]] * 20, 0.5).measurable  # no spread seen: a guesser's is used
    assert not measure([], 0.25).measurable
    scores = [1.0] * 45 + [0.0] * 55
    assert measure([[score] for score in scores], 0.25).measurable
    passages = [scores[:45], scores[45:70], scores[70:]]  # three, not 100 items
    assert not measure(passages, 0.25).measurable
    with pytest.raises(BadInput, match="chance is 1"):
        measure([[1.0]], 1.0)


def test_scores_between_right_and_wrong():
    draw = random.Random(1)
    items = suite(*[150] * 2)
    base = {item.key: 0.5 + 0.4 * draw.random() for item in items}
    tuned = {key: before - 0.3 * draw.random() for key, before in base.items()}
    result = check_pairs(plan_of(items, base), pairs_of(items, base, tuned), until="decided")
    assert word(result) == "REGRESSED"
    assert (result.mcnemar_p, result.lost_corrected, result.won_corrected) == (None, None, None)
    assert result.power == ()
    assert (result.lost, result.discordance) == (result.items_used, 1.0)


def test_clusters_are_fed_whole_and_out_of_turn():
    items = [Item("t", f"{n:03}", f"passage {n // 5}") for n in range(200)]
    base, tuned = flip(items, {"t": 30}, {})
    check = begin(plan_of(items, base))
    first, second = check.clusters[:2]
    for fed, consumed, n in ((first[:3], 0, 0), (second, 0, 5), (first[3:], 2, 10)):
        check = feed(check, base, {item.key: tuned[item.key] for item in fed})
        assert (check.consumed, check.tasks["t"].n) == (consumed, n)
    assert word(conclude(run(check, base, tuned))) == "REGRESSED"


def test_what_is_fed_is_checked():
    items = suite(50)
    base, tuned = flip(items, {}, {})
    check = feed(begin(plan_of(items, base)), base, {("t0", "003"): 1.0})
    for known, key, score, says in (
        (base, ("t9", "1"), 1.0, "t9: item 1 is not in the plan"),
        (base, ("t0", "001"), 1.5, r"t0: item 001 has the tuned score 1\.5"),
        (base, ("t0", "001"), float("nan"), "score nan"),
        (base, ("t0", "003"), 1.0, "has a score already"),
        ({}, ("t0", "002"), 1.0, "has no base score"),
    ):
        with pytest.raises(BadInput, match=says):
            feed(check, known, {key: score})
    result = check_pairs(plan_of(items, base), pairs_of(items[1:], base, tuned))
    assert word(result) == "NO VERDICT"
    assert result.reason == "1 of 50 items could not be joined (first: t0 000)."


def test_the_plan_is_fixed_by_what_is_given():
    items = suite(*[60] * 2)
    base, _ = flip(items, {}, {})
    tasks = [TaskPlan("t0", "acc", 0.25), TaskPlan("t1", "acc", 0.25)]
    fixed: Any = {"seed": 3, "cap": 40, "excluded": [("t0", "007")]}
    plan = make_plan(tasks, items, base, **fixed)
    assert len(plan.order) == 80
    assert ("t0", "007") not in {item.key for item in plan.order}
    assert sorted(plan.order) == sorted(choose_items(items, **fixed))
    again = make_plan(tasks, items[::-1], base, **fixed)
    assert (again.hash, again.order) == (plan.hash, plan.order)
    assert make_plan(tasks, items, base, **{**fixed, "seed": 4}).hash != plan.hash
    with pytest.raises(BadInput, match="margin is 3"):
        make_plan(tasks, items, base, seed=3, cap=40, margin=3)
    with pytest.raises(BadInput, match="belongs to no task"):
        make_plan(tasks[:1], items, base, seed=3, cap=40)


def test_plan_and_result_survive_json_and_one_check_is_quick():
    items = suite(*[60] * 2)
    base, tuned = flip(items, {"t0": 9}, {"t1": 2})
    plan = plan_of(items, base)
    result = check_pairs(plan, pairs_of(items, base, tuned))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=CheckPlan) == plan
    assert msgspec.json.decode(msgspec.json.encode(result), type=CheckResult) == result
    assert result.plan_hash == plan.hash
    draw = random.Random(1)
    items = suite(*[100] * 7)
    base = {item.key: float(draw.random() < 0.7) for item in items}
    tuned = {key: float(draw.random() < (0.94 if before else 0.1)) for key, before in base.items()}
    plan, pairs = plan_of(items, base), pairs_of(items, base, tuned)
    calls = calls_of(lambda: check_pairs(plan, pairs))
    assert calls < 200_000  # all eleven looks and the summary make 58,308, in 0.03 s


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 5), (12, 3), (3, 12), (40, 21), (1, 0), (25, 8)])
def test_mcnemar_against_statsmodels(lost, won):
    expected = mcnemar([[100, lost], [won, 30]], exact=True).pvalue if lost + won else 1.0
    assert mcnemar_p(lost, won) == pytest.approx(float(expected))


def test_flips_less_what_guessing_flips():
    # From 80 % to 70 % right with four choices: 10 lost, of which guessing explains 20 * 30 / 300 = 2.
    base = [1.0] * 80 + [0.0] * 20
    tuned = [1.0] * 70 + [0.0] * 30
    flips = count_flips(base, tuned, 0.25)
    assert (flips.lost, flips.won, flips.won_corrected) == (10, 0, 0)
    assert flips.lost_corrected == pytest.approx(8)
    assert count_flips(base, tuned, 0.0).lost_corrected == 10
    # Two guessers between two choices flip a quarter each way, and have lost nothing.
    guess = random.Random(1)
    first, second = ([float(guess.random() < 0.5) for _ in range(4000)] for _ in range(2))
    guessers = count_flips(first, second, 0.5)
    assert guessers.lost > 900
    assert guessers.lost_corrected == pytest.approx(0, abs=60)
    assert count_flips([0.5], [0.4], 0.0).lost_corrected is None
    both = sum_flips([flips, guessers])
    assert (both.items, both.lost) == (4100, 10 + guessers.lost)
    assert sum_flips([flips, count_flips([0.5], [0.4], 0.0)]).lost_corrected is None


def test_power_against_simulation():
    random_numbers = np.random.default_rng(5)
    for items, drop in ((300, 0.0), (300, 0.05), (600, 0.05), (600, 0.02)):
        draws = random_numbers.multinomial(items, [(0.1 + drop) / 2, (0.1 - drop) / 2, 0.9], size=20_000)
        lost, won = draws[:, 0], draws[:, 1]
        proven = (100 * (lost - won) >= 3 * items) & (binom.sf(lost - 1, lost + won, 0.5) <= 0.05)
        power = chance_of_regressed(items, 0.03, 0.1, drop, 0.05)
        assert power == pytest.approx(float(np.mean(proven)), abs=0.011)
    assert chance_of_regressed(600, 0.03, 0.0, 0.0, 0.05) == 0
    assert chance_of_regressed(0, 0.03, 0.1, 0.0, 0.05) == 0


def test_power_is_that_of_the_items_asked_before_it_stopped():
    items = suite(*[1000] * 2)
    base = {item.key: 1.0 for item in items}
    plan = plan_of(items, base)
    stopped = check_pairs(plan, pairs_of(items, base, base), until="decided")
    assert (stopped.verdict, stopped.items_used < 1000) == ("ok", True)
    both_ways = 2 / (stopped.items_used + 2)
    for entry in stopped.power:
        flips, level = both_ways + entry.drop, level_at_the_end(0.05)
        own = chance_of_regressed(stopped.items_used, 0.03, flips, entry.drop, level)
        assert entry.chance == pytest.approx(own)
    sentence = f"Power of the {stopped.items_used} items asked: a true drop of 5 points is caught"
    assert any(claim.startswith(sentence) for claim in stopped.claims)
    whole = check_pairs(plan, pairs_of(items, base, base), until="all")
    assert any("no change at all is called" in line for line in whole.claims)
    assert not any("no change at all is called" in line for line in stopped.claims)
    assert whole.power[1].chance > stopped.power[1].chance


def shown_ends(words: str) -> tuple[float, float] | None:
    """Read a printed interval of a change; None if none is printed."""
    low, to, high = words.partition(" to ")
    return (float(low), float(high)) if to else None


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(12, 160), min_size=1, max_size=4),
    worse=st.lists(st.sampled_from([0.0, 0.02, 0.03, 0.05, 0.1, 0.3]), min_size=4, max_size=4),
    better=st.sampled_from([0.0, 0.02, 0.08]),
    margin=st.sampled_from([0.01, 0.03, 0.1]),
    until=st.sampled_from(["decided", "all"]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_no_printed_interval_contradicts_the_verdict_beside_it(sizes, worse, better, margin, until, seed):
    """As printed: REGRESSED only below the limit, OK only above it, lost only below 0, kept only above the limit."""
    chance = random.Random(seed)
    pairs = []
    for task, (size, falls) in enumerate(zip(sizes, worse, strict=False)):
        for number in range(size):
            right = float(chance.random() < 0.8)
            tuned = 1.0 - right if chance.random() < (falls / 0.8 if right else better) else right
            pairs.append(PairedItem(f"t{task}", f"{number:03}", "", right, tuned))
    items = [Item(pair.task, pair.item) for pair in pairs]
    base = {item.key: pair.base for item, pair in zip(items, pairs, strict=True)}
    plan = plan_of(items, base, margin=margin)
    result = check_pairs(plan, pairs, until=until)  # type: ignore[arg-type]
    limit = -100 * margin

    text = interval(result.deciding_interval, margin)
    ends = shown_ends(text)
    assert result.verdict == "no_verdict" or ends or text == "all items" or result.decided_by == "task"
    if ends:
        match result.verdict:
            case "regressed":
                assert ends[1] <= limit, text
            case "ok":
                assert ends[0] > limit, text
            case "no_verdict":
                assert ends[0] <= limit < ends[1], text
    if text == "all items":
        shown = float(change(result.drop, margin))
        assert (shown <= limit) == (result.verdict == "regressed"), (shown, result.verdict)
    for task in result.tasks:
        ends = shown_ends(interval(task.interval, margin))
        if task.mark == "lost":
            assert ends and ends[1] < 0, task
        elif task.mark == "kept":
            assert ends and ends[0] > limit, task


def test_the_interval_of_the_suite_narrows_to_its_drop():
    items = suite(*[200] * 2)
    base, tuned = flip(items, {"t0": 12, "t1": 12}, {"t0": 4, "t1": 4})
    check, widths = begin(plan_of(items, base), until="all"), []
    while look := next_items(check):
        check = feed(check, base, {item.key: tuned[item.key] for item in look})
        result = conclude(check)
        assert result.suite_interval is not None
        low, high = result.suite_interval
        assert low <= 0.04 <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True) and widths[-1] == 0.0
