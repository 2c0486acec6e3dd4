"""Which checkpoint is checked next, and what the checks show together."""

from __future__ import annotations

import random

import pytest

from finetop.core.check.bisect import Curve, Seen, conclude, most_looks, next_step, table_rows

STEPS = tuple(range(20, 340, 20))  # 16 checkpoints


def look_at(truth: dict[int, Seen], known: dict[int, Seen] | None = None) -> tuple[list[int], Curve]:
    """Check until enough is known; return the steps in order, and the conclusion."""
    steps, seen, order = sorted(truth), dict(known or {}), []
    while (step := next_step(steps, seen)) is not None:
        assert step not in seen
        seen[step] = truth[step]
        order.append(step)
    return order, conclude(steps, seen)


def broken_from(first: int | None, steps: tuple[int, ...] = STEPS) -> dict[int, Seen]:
    return {step: "ok" if first is None or step < first else "regressed" for step in steps}


@pytest.mark.parametrize("first", STEPS)
def test_finds_the_first_regressed_in_a_handful_of_looks(first):
    order, found = look_at(broken_from(first))
    assert found.since == first
    assert found.after == (first - 20 if first > 20 else None)
    assert order[:2] == [STEPS[-1], STEPS[0]]
    assert len(order) <= 6  # newest, oldest, and 4 halvings of 14
    assert (found.open, found.newest_verdict) == ((), "regressed")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 16])
def test_it_takes_no_more_looks_than_it_says(size):
    steps = STEPS[:size]
    takes = []
    for first in (*steps, None):
        truth = broken_from(first, steps)
        for known in ({}, {step: truth[step] for step in steps[-1:]}):
            order, _ = look_at(truth, known) if steps else ([], None)
            assert len(order) <= most_looks(steps, known)
            takes.append(len(order) - most_looks(steps, known))
    assert max(takes) == 0, "some order takes as many"


def test_one_look_is_enough_for_a_newest_that_is_ok_else_it_says_what_was_not_looked_at():
    order, found = look_at(broken_from(None))
    assert order == [320]
    assert (found.since, found.newest_verdict) == (None, "ok")
    assert found.text.startswith("not regressed at step 320, the newest checkpoint (steps 20, 40, ")
    truth = broken_from(120, (40, 80, 120, 160, 200))
    order, found = look_at(truth)
    assert order == [200, 40, 120, 80]
    how = "estimate by bisection: step 160 was not checked; damage need not be monotone"
    assert found.text == f"regressed since step 120 ({how})."
    everything = conclude(sorted(truth), truth)
    assert everything.text == "regressed since step 120 (all checkpoints were checked)."
    # What is known already is not looked at again.
    order, found = look_at(broken_from(180), known={320: "regressed", 20: "ok", 160: "ok", 180: "regressed"})
    assert (order, found.since) == ([], 180)


def test_damage_that_heals_and_comes_back_counts_from_the_last_ok():
    truth: dict[int, Seen] = {10: "ok", 20: "regressed", 30: "ok", 40: "regressed", 50: "regressed"}
    found = conclude(sorted(truth), truth)
    assert (found.after, found.since, found.recovered) == (30, 40, (20,))
    assert "step 20 regressed too, and was OK again after it" in found.text
    _, found = look_at(truth)
    assert found.since is not None and truth[found.since] == "regressed"
    assert found.after is None or truth[found.after] == "ok"


def test_any_pattern_ends_in_a_bracket_of_looked_at_steps():
    chance = random.Random(5)
    kinds: list[Seen] = ["ok", "regressed", "regressed", "no_verdict", "missing"]
    for _ in range(500):
        truth = {step: chance.choice(kinds) for step in STEPS}
        gone: dict[int, Seen] = {step: "missing" for step in STEPS if truth[step] == "missing"}
        order, found = look_at(truth, gone)
        assert len(order) <= len(STEPS)
        if found.since is None:
            continue
        assert truth[found.since] == "regressed"
        lower = -1 if found.after is None else found.after
        between = {step for step in STEPS if lower < step < found.since}
        assert between <= set(found.open)
        assert all(truth[step] in ("no_verdict", "missing") for step in between), "all that can be judged is"


def test_checkpoints_without_a_verdict_are_stepped_over_and_those_that_are_gone_named():
    truth: dict[int, Seen] = {10: "ok", 20: "no_verdict", 30: "regressed", 40: "regressed", 50: "no_verdict"}
    _, found = look_at(truth)
    assert (found.since, found.open) == (30, (20,))
    assert found.newest_verdict == "no_verdict"
    assert "step 50 itself has no verdict" in found.text
    dumb: dict[int, Seen] = dict.fromkeys(STEPS, "no_verdict")
    order, found = look_at(dumb)
    assert order == [320, 20], "a base that can't be judged is not tried on all of them"
    assert found.text.startswith("no verdict at any of the checkpoints checked")
    truth = broken_from(200)
    gone: dict[int, Seen] = dict.fromkeys((20, 180, 200, 320), "missing")
    order, found = look_at(truth, gone)
    assert not set(order) & set(gone)
    assert (found.newest, found.after, found.since, found.open) == (300, 160, 220, (180, 200))
    assert "steps 20, 180, 200 and 320 can't be checked any more" in found.text
    assert next_step([5, 9], {5: "missing", 9: "missing"}) is None


def test_the_table_has_a_row_for_every_checkpoint():
    result = {
        "verdict": "regressed", "reason": "", "margin": 0.03, "items_used": 64, "items_total": 1672,
        "drop": 0.091, "interval": [-0.01, 0.19], "suite_interval": [0.05, 0.13], "claim": 2, "watch": False,
    }  # fmt: skip
    rows = table_rows([10, 20, 30], {20: result, 30: {**result, "watch": True}}, {10: "missing"})
    assert rows[0] == ("10", "gone", "", "", "", "")
    assert rows[1] == ("20", "REGRESSED", "-9.1", "-13.0 to -5.0", "64 of 1,672", "2")
    assert rows[2][-1] == "watch"
