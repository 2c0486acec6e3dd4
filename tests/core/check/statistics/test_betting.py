from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import log

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from finetop.core.check.statistics.betting import (
    BETS,
    PoolTest,
    Sample,
    begin_pool,
    confidence_sequence,
    exact,
    feed_pool,
    holm,
    log_growth,
    log_mean_exp,
    log_wealth_of_drop,
    log_wealth_under,
    sample,
    spend_alpha,
)
from finetop.core.errors import BadInput

MARGIN = Fraction(3, 100)


def pool(margin: int | Fraction, sizes: list[int], alpha: float = 0.05) -> PoolTest:
    return begin_pool(margin, sizes, alpha_regressed=alpha, alpha_ok=alpha)


def run_pool(
    differences: list[int], margin: Fraction, alpha: float, look: int = 1
) -> tuple[str | None, int, PoolTest]:
    test = pool(margin, [1] * len(differences), alpha)
    for start in range(0, len(differences), look):
        now = differences[start : start + look]
        test = feed_pool(test, now, [1] * len(now))
        if test.decision:
            return test.decision, min(start + look, len(differences)), test
    return None, len(differences), test


def as_designed(differences: list[int], margin: Fraction, alpha: float, look: int) -> tuple[str | None, int]:
    """Run the design's pseudo-code literally, one item at a time."""
    total, k = 0, margin * len(differences)
    for_regressed, for_ok = np.zeros(9), np.zeros(9)
    for t, difference in enumerate(differences):
        rest = len(differences) - t
        m = float((-k - total) / rest)
        if m < 1:
            for_regressed += np.log(1 - np.minimum(BETS, 0.95 / max(1 - m, 0.05)) * (difference - m))
        if m > -1:
            for_ok += np.log(1 + np.minimum(BETS, 0.95 / max(1 + m, 0.05)) * (difference - m))
        total += difference
        left = rest - 1
        if (t + 1) % look == 0 or left == 0:
            if -(total + left) >= k or np.mean(np.exp(for_regressed)) >= 1 / alpha:
                return "regressed", t + 1
            if -(total - left) < k or np.mean(np.exp(for_ok)) >= 1 / alpha:
                return "ok", t + 1
    return None, len(differences)


@pytest.mark.parametrize("look", [1, 16, 64])
def test_pool_test_is_the_design_word_for_word(look):
    random = np.random.default_rng(1)
    decided = set()
    for drop in (-0.05, 0.0, 0.02, 0.03, 0.05, 0.2):
        for _ in range(4):
            chances = [0.1 + max(drop, 0.0), 0.8 - abs(drop), 0.1 + max(-drop, 0.0)]
            differences = random.choice([-1, 0, 1], size=300, p=chances).tolist()
            decision, used, _ = run_pool(differences, MARGIN, 0.05, look)
            assert (decision, used) == as_designed(differences, MARGIN, 0.05, look)
            decided.add((decision, used < 300))
    assert decided >= {("ok", True), ("regressed", True)}


def test_every_permutation_of_small_suites_is_wrong_at_most_alpha():
    # No sampling: all distinct orders of (lost, won, same) are equally likely.
    alpha, items = 0.4, 8
    worst = 0.0
    for lost, won in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]:
        for margin in (Fraction(3, 20), Fraction(1, 4)):
            truth = "regressed" if lost - won >= margin * items else "ok"
            wrong = orders = 0
            for lost_places in combinations(range(items), lost):
                free = [place for place in range(items) if place not in lost_places]
                for won_places in combinations(free, won):
                    differences = [(place in won_places) - (place in lost_places) for place in range(items)]
                    orders += 1
                    wrong += run_pool(differences, margin, alpha)[0] != truth
            assert wrong / orders <= alpha, (lost, won, margin)
            worst = max(worst, wrong / orders)
    assert worst > 0, "no order was ever wrong: the bound was not tried"


def test_known_streams():
    # 20 losses in a row of 100 items: the bettor with stake 0.78 multiplies by about 1.6 each time.
    for stream, wanted, most in (([-1] * 20 + [0] * 80, "regressed", 20), ([0] * 1000, "ok", 300)):
        decision, used, test = run_pool(stream, MARGIN, 0.05)
        assert (decision, test.by, used < most) == (wanted, "betting", True)
    # The drop is exactly the margin: only the last items can decide.
    for lost, decided in ((3, ("regressed", 100)), (2, ("ok", 98))):
        *decision_at, test = run_pool([0] * (100 - lost) + [-1] * lost, MARGIN, 1e-9)
        assert (*decision_at, test.by) == (*decided, "arithmetic")
    # Certainty overrules a proof.
    test = pool(Fraction(1, 10), [1] * 200)
    for more, decided in (
        ([0] * 100, ("ok", "betting")),
        ([-1] * 10, ("ok", "betting")),
        ([-1] * 90, ("regressed", "arithmetic")),
    ):
        test = feed_pool(test, more, [1] * len(more))
        assert (test.decision, test.by) == decided


scores = st.one_of(st.sampled_from([0.0, 1.0]), st.integers(0, 10).map(lambda tenths: tenths / 10))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(scores, scores), min_size=1, max_size=4), min_size=1, max_size=40),
    st.integers(1, 30),
    st.integers(1, 20),
)
def test_the_last_item_always_decides_and_tells_the_truth(clusters, percent, look):
    margin = exact(percent / 100)
    sums = [sum((exact(tuned) - exact(base) for base, tuned in cluster), 0) for cluster in clusters]
    sizes = [len(cluster) for cluster in clusters]
    test = pool(margin, sizes)
    for start in range(0, len(sums), look):
        test = feed_pool(test, sums[start : start + look], sizes[start : start + look])
    assert test.by == "arithmetic"
    assert test.decision == ("regressed" if -sum(sums) >= margin * sum(sizes) else "ok")
    assert np.isfinite(test.log_regressed).all()
    assert np.isfinite(test.log_ok).all()


def test_decimals_are_read_as_printed_and_clusters_keep_the_claim_about_the_mean_item():
    assert exact(0.03) == Fraction(3, 100)
    assert exact(0.5) - exact(0.4) == Fraction(1, 10)
    assert (
        feed_pool(pool(exact(0.1), [1] * 10), [exact(0.4) - exact(0.5)] * 10, [1] * 10).decision
        == "regressed"
    )
    # Four items that always go together are one draw of the same size: the same evidence as single items.
    single = feed_pool(pool(MARGIN, [1] * 50, 0.01), [0, -1, 0, 1, -1], [1] * 5)
    fours = feed_pool(pool(MARGIN, [4] * 50, 0.01), [0, -4, 0, 4, -4], [4] * 5)
    assert fours.log_evidence == pytest.approx(single.log_evidence)
    # One cluster of 10 loses everything, 30 single items nothing: a drop of 0.25 by items, 0.03 by clusters.
    sizes = [10] + [1] * 30
    for margin, truth in ((0.25, "regressed"), (0.26, "ok")):
        assert feed_pool(pool(exact(margin), sizes, 1e-6), [-10] + [0] * 30, sizes).decision == truth


def simulate(sums, sizes, streams, alpha, look, seed):
    """Run many permutations of one suite at once; return (share wrong, share decided before the end)."""
    random = np.random.default_rng(seed)
    order = random.permuted(np.tile(np.arange(len(sums)), (streams, 1)), axis=1)
    drawn, widths = np.array(sums)[order], np.array(sizes)[order]
    items, largest = sum(sizes), max(sizes)
    truth = -100 * sum(sums) >= 3 * items
    growth = np.zeros((2, len(BETS), streams))
    decided = np.full(streams, -1)
    for start in range(0, len(sums), look):
        now = drawn[:, start : start + look]
        before = drawn[:, :start].sum(axis=1)
        growth += np.array(
            log_growth(now / largest, before / largest, 0.03 * items / largest, len(sums) - start)
        )
        left = items - widths[:, : start + look].sum(axis=1)
        if not left.any():
            break
        total = before + now.sum(axis=1)
        sure_regressed, sure_ok = -100 * (total + left) >= 3 * items, -100 * (total - left) < 3 * items
        bar = -log(alpha)
        regressed = sure_regressed | (~sure_ok & (log_mean_exp(growth[0].T) >= bar))
        ok = ~regressed & (sure_ok | (log_mean_exp(growth[1].T) >= bar))
        decided = np.where(decided >= 0, decided, np.where(regressed, 1, np.where(ok, 0, -1)))
    early = decided >= 0
    return float(np.mean(early & (decided != truth))), float(np.mean(early))


@pytest.mark.parametrize(
    ("lost", "won"), [(20, 20), (28, 12), (26, 9), (28, 9), (17, 0), (18, 0), (19, 0), (60, 0)]
)
def test_wrong_verdicts_stay_below_alpha(lost, won):
    items, streams, alpha = 600, 400, 0.05
    sums = [-1] * lost + [1] * won + [0] * (items - lost - won)
    wrong, _ = simulate(sums, [1] * items, streams, alpha, look=64, seed=lost)
    assert wrong <= alpha + 3 * (alpha * (1 - alpha) / streams) ** 0.5


def test_wrong_verdicts_stay_below_alpha_with_clusters():
    sizes = [1 + place % 7 for place in range(140)]  # 560 items; losing 16.8 is the margin
    streams, alpha, worst = 400, 0.3, 0.0
    for lost_clusters in (4, 5, 6, 9):
        sums = [-size if place < lost_clusters else 0 for place, size in enumerate(sizes)]
        wrong, _ = simulate(sums, sizes, streams, alpha, look=4, seed=lost_clusters)
        assert wrong <= alpha + 3 * (alpha * (1 - alpha) / streams) ** 0.5, lost_clusters
        worst = max(worst, wrong)
    assert worst > 0


def test_ability_wealth_is_the_product_of_the_bets_and_a_fair_game():
    differences = [-1, 0, 0, 1, -1, -1, 0]
    drawn = sample(differences, [1] * 7, 1)
    for drop in (0.0, 0.03, 0.4):
        of_drop = np.ones(9)
        under = np.ones(9)
        for difference in differences:
            of_drop *= 1 - np.minimum(BETS, 0.95 / (1 + drop)) * (difference + drop)
            under *= 1 + np.minimum(BETS, 0.95 / (1 - drop)) * (difference + drop)
        assert np.exp(log_wealth_of_drop(drawn, drop)) == pytest.approx(of_drop)
        assert np.exp(log_wealth_under(drawn, drop)) == pytest.approx(under)
    # The exact expectation over one draw if the drop is the one bet against: every bettor's wealth stays 1.
    drop, lost, won = 0.03, 0.065, 0.035
    wealth = np.zeros(9)
    for difference, chance in ((-1, lost), (1, won), (0, 1 - lost - won)):
        wealth += chance * np.exp(log_wealth_of_drop(sample([difference], [1], 1), drop))
    assert wealth == pytest.approx(np.ones(9))


def test_confidence_sequence_against_the_wealth_itself():
    random = np.random.default_rng(2)
    sizes = random.integers(1, 5, size=80).tolist()
    sums = [int(random.integers(-size, size + 1)) for size in sizes]
    drawn = sample(sums, sizes, 4)
    low, high = confidence_sequence(drawn, 0.05)
    bar = log(2 / 0.05)

    for wealth, limit, step in ((log_wealth_of_drop, low, 1e-5), (log_wealth_under, high, -1e-5)):
        evidence = [float(log_mean_exp(wealth(drawn, drop))) for drop in (limit, limit + step)]
        assert evidence[0] >= bar > evidence[1]
        over_grid = [float(log_mean_exp(wealth(drawn, drop))) for drop in np.linspace(-1, 1, 401)]
        assert (np.sign(step) * np.diff(over_grid) <= 1e-12).all()
    assert low < -sum(sums) / sum(sizes) < high
    assert confidence_sequence(sample([], [], 1), 0.05) == (-1.0, 1.0)
    low, high = confidence_sequence(sample([-1] * 500, [1] * 500, 1), 0.05)
    assert low > 0.9 and high == 1.0
    low, high = confidence_sequence(sample([1] * 500, [1] * 500, 1), 0.05)
    assert low == -1.0 and high < -0.9


def test_confidence_sequence_holds_at_all_looks_at_once():
    random = np.random.default_rng(3)
    streams, missed = 60, 0
    for _ in range(streams):
        differences = random.choice([-1, 0, 1], size=384, p=[0.09, 0.87, 0.04]).tolist()
        limits = [confidence_sequence(sample(differences[:n], [1] * n, 1), 0.2) for n in range(64, 385, 64)]
        missed += not all(low <= 0.05 <= high for low, high in limits)
    assert 0 < missed / streams <= 0.2


@pytest.mark.parametrize("drop", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("sizes", [(1,), (1, 2, 5), (1, 4)])  # single items; clusters, or items so weighted
def test_the_true_drop_is_covered_at_every_look_at_once(sizes, drop):
    # A limit excludes the true drop when the wealth bet against it passes 2/alpha: all streams at once.
    random, streams, alpha = np.random.default_rng(11), 1500, 0.2
    flips = [(-1, drop + 0.05), (0, 0.9 - drop), (1, 0.05)]
    kinds = [(change * size, size, chance / len(sizes)) for size in sizes for change, chance in flips]
    sums, widths, chances = (np.array(column) for column in zip(*kinds, strict=True))
    counts = random.multinomial(32, chances, size=(30, streams)).cumsum(axis=0).astype(float)
    missed = np.zeros(streams, dtype=bool)
    for look in counts:
        drawn = Sample(sums / max(sizes), widths / max(sizes), look.T)  # one column per stream
        for wealth in (log_wealth_of_drop(drawn, drop), log_wealth_under(drawn, drop)):
            missed |= log_mean_exp(wealth.T) >= log(2 / alpha)
    for stream in np.flatnonzero(missed)[:3].tolist() + np.flatnonzero(~missed)[:3].tolist():
        seen = [Sample(sums / max(sizes), widths / max(sizes), look[stream]) for look in counts]
        limits = [confidence_sequence(drawn, alpha) for drawn in seen]
        assert missed[stream] == any(not low <= drop <= high for low, high in limits)
    assert 0.01 < missed.mean() <= alpha + 3 * (alpha * (1 - alpha) / streams) ** 0.5


def test_holm():
    evidence = {"a": log(81), "b": log(39), "c": log(1), "d": log(25)}
    assert holm(evidence, 0.05) == {"a"}  # bars 80, 60: b at 39 stops it, and d is not tested before b
    assert holm({**evidence, "b": log(61), "d": log(40)}, 0.05) == {"a", "b", "d"}
    assert holm({}, 0.05) == frozenset()
    assert holm({"a": log(19.9)}, 0.05) == frozenset()


def test_holm_is_wrong_at_most_alpha_when_nothing_fell():
    random = np.random.default_rng(4)
    streams, wrong, alpha = 80, 0, 0.25
    for _ in range(streams):
        peaks = {}
        for task in range(5):
            differences = random.choice([-1, 0, 1], size=120, p=[0.15, 0.7, 0.15]).tolist()
            peaks[str(task)] = max(
                float(log_mean_exp(log_wealth_of_drop(sample(differences[:n], [1] * n, 1), 0.0)))
                for n in range(20, 121, 20)
            )
        wrong += bool(holm(peaks, alpha))
    assert 0 < wrong / streams <= alpha


def test_checkpoints_together_spend_alpha_and_huge_wealth_does_not_overflow():
    assert spend_alpha(0.05, 1) == pytest.approx(0.025)
    assert spend_alpha(0.06, 2) == pytest.approx(0.01)
    assert sum(spend_alpha(0.05, claim) for claim in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)
    with pytest.raises(BadInput, match="claim 0"):
        spend_alpha(0.05, 0)
    assert float(log_mean_exp(np.array([2000.0, 0.0]))) == pytest.approx(2000 - log(2))
    assert float(log_mean_exp(np.log(np.array([1.0, 3.0])))) == pytest.approx(log(2))


@pytest.mark.parametrize(
    ("margin", "sizes", "alpha", "says"),
    [(Fraction(0), [1], 0.05, "margin is 0"), (MARGIN, [1], 1, "alpha is 1"), (MARGIN, [], 0.05, "no item")],
)
def test_what_cannot_be_tested_is_refused(margin, sizes, alpha, says):
    with pytest.raises(BadInput, match=says):
        begin_pool(margin, sizes, alpha_regressed=0.05, alpha_ok=alpha)
