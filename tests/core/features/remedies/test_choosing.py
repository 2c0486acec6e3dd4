"""The best of several is confirmed on items that selected nothing, and wrongly with probability at most alpha."""

import numpy as np
import pytest
from waiting import times

from finetop.core.check.statistics import sequential
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import TaskPlan
from finetop.core.features.remedies import remedies
from finetop.core.features.remedies.choice import best, parts, ranked
from finetop.core.protocol.runs import RemedyRow

MARGIN = 0.03


def plan_of(count, *, seed=1, cluster=1):
    items = [Item("task", f"{at}", f"c{at // cluster}" if cluster > 1 else "") for at in range(count)]
    base = {item.key: 1.0 for item in items}
    return make_plan(
        [TaskPlan("task", "acc", 0.0)], items, base, seed=seed, cap=None, margin=MARGIN, look_items=64
    )


def row(name, gain=1.0, verdict="ok", confirmation=""):
    return RemedyRow(name, "x", name, 1, verdict=verdict, gain=gain, confirmation=confirmation)


def test_the_parts_share_no_item_and_hold_all():
    plan = plan_of(600, cluster=4)
    choosing, confirming = parts(plan, 9)
    assert choosing.order + confirming.order == plan.order
    assert len(choosing.order) == 300
    assert {item.cluster for item in choosing.order}.isdisjoint({item.cluster for item in confirming.order})
    assert (choosing.alpha, confirming.alpha) == (plan.alpha, plan.alpha / 9)
    assert len({plan.hash, choosing.hash, confirming.hash}) == 3
    large, fresh = parts(plan_of(5000), 9)
    assert (len(large.order), len(fresh.order)) == (1000, 4000)


def test_a_small_suite_leaves_nothing_to_confirm_on():
    plan = plan_of(120)
    choosing, confirming = parts(plan, 9)
    assert (choosing.order, confirming) == (plan.order, None)


def test_most_gain_of_those_proven_fine_is_best_and_what_was_refuted_is_not():
    rows = [
        row("a", 0.9), row("b", 1.0, "regressed"), row("c", 0.95), row("d", None, "failed"), row("e", 0.2),
    ]  # fmt: skip
    assert [one.name for one in ranked(rows)] == ["c", "a", "e"]
    assert best(rows).name == "c"
    rows[2] = row("c", 0.95, confirmation="regressed")
    assert best(rows).name == "a"
    rows[4] = row("e", 0.2, confirmation="ok")
    assert best(rows).name == "e"
    assert best(rows[1:2]) is None
    assert [one.name for one in ranked([row("x", None), row("y", None)])] == ["x", "y"]


def verdict(plan, tuned):
    """Check a model with these scores on a plan."""
    state = sequential.begin(plan)
    while look := sequential.next_items(state):
        state = sequential.feed(state, {i.key: 1.0 for i in look}, {i.key: tuned[i.item] for i in look})
    return sequential.verdict_so_far(state)


def confirmed(choosing, confirming, models):
    """Select among models as the job does; return the confirmed one's index, and those OK on the first part."""
    gained = [sum(model[item.item] for item in choosing.order) for model in models]
    fine = [at for at, model in enumerate(models) if verdict(choosing, model) == "ok"]
    order = sorted(fine, key=lambda at: -gained[at])
    return next((at for at in order if verdict(confirming, models[at]) == "ok"), None), order


@pytest.mark.parametrize("tries", [20, pytest.param(times(1500, 200), marks=pytest.mark.slow)])
def test_noise_alone_is_not_confirmed_more_often_than_alpha(tries):
    """Nine candidates that all lose exactly the limit, on different items: the best of them looks ok by luck."""
    plan = plan_of(320)
    choosing, confirming = parts(plan, 9)
    fresh = {item.item for item in confirming.order}
    draws, wrong, fooled = np.random.default_rng(1), 0, 0
    for _ in range(tries):
        models = []
        for _ in range(9):
            scores = {item.item: 1.0 for item in plan.order}
            # over the confirmation items the drop is exactly the limit; over the others it is random
            lost = [*draws.choice(sorted(fresh), int(np.ceil(MARGIN * len(fresh))), replace=False)]
            lost += [item for item in scores if item not in fresh and draws.random() < MARGIN]
            models.append({item: float(item not in lost) for item in scores})
        chosen, looked_fine = confirmed(choosing, confirming, models)
        wrong += chosen is not None
        fooled += bool(looked_fine)
    assert fooled > tries / 2, "else there was nothing to be fooled by"
    assert wrong <= tries * plan.alpha


def test_a_good_one_is_confirmed():
    plan = plan_of(600)
    choosing, confirming = parts(plan, 9)
    good = {item.item: 1.0 for item in plan.order}
    bad = {item: float(int(item) % 5 > 0) for item in good}
    assert confirmed(choosing, confirming, [bad, good])[0] == 1


def test_there_are_never_more_candidates_than_the_error_is_split_by():
    most = remedies.Subject(100, False, True, False, "none", tuple(range(99)))
    candidates = remedies.candidates(most)
    assert len(candidates) == remedies.most_candidates() == len({candidate.name for candidate in candidates})
    assert all(len(name) < 40 for name in (candidate.name for candidate in candidates))
