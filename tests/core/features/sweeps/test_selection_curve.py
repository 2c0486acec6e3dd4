"""The results of a curve over selected rows: intervals, who loses to random, and whether more rows would help."""

import pytest
from scipy import stats
from tui_fakes import make_check, make_row

from finetop.core.features.sweeps import selection_curve
from finetop.core.protocol.messages.runs import SweepsAnswer, SweptRun
from finetop.core.protocol.runs import Finished, Queued


def row(number, loss=None, state=None, check=None):
    metrics = {} if loss is None else {"eval_loss": loss}
    return make_row(number, f"r{number}", state or Finished(1, 2), metrics=metrics, check=check)


def answer(points):
    """Return a sweep of runs, each given as (by, rows, seed, run)."""
    names = ("select.by", "rows", "train.seed")
    runs = [SweptRun(run, dict(zip(names, map(str, facts), strict=True))) for *facts, run in points]
    return SweepsAnswer([], runs, ["select.by", "rows"])


LOSSES = {
    ("random", 50): (2.0, 2.1, 2.2),
    ("length", 50): (2.31, 2.40, 2.52),
    ("diversity", 50): (1.9, 2.2, 2.15),
    ("all", 200): (1.7, 1.81, 1.9),
}


def sweep_of(losses=LOSSES):
    return answer(
        (by, rows, seed, row(100 * at + seed, value))
        for at, ((by, rows), values) in enumerate(losses.items())
        for seed, value in enumerate(values, 1)
    )


def test_intervals_are_of_the_t_distribution_and_differences_paired_by_seed():
    curves = selection_curve.read(sweep_of())
    cells = {(cell.by, cell.rows): cell for cell in curves.cells}
    assert list(cells) == [("random", 50), ("diversity", 50), ("length", 50), ("all", 200)]
    wanted = stats.t.interval(0.95, 2, loc=2.1, scale=stats.sem((2.0, 2.1, 2.2)))
    target = cells["random", 50].target
    assert (target.mean, target.low, target.high) == pytest.approx((2.1, *wanted))
    differences = [0.31, 0.30, 0.32]
    wanted = stats.t.interval(0.95, 2, loc=0.31, scale=stats.sem(differences))
    length = cells["length", 50]
    assert (length.difference.low, length.difference.high) == pytest.approx(wanted)
    assert [cell.against for cell in curves.cells] == ["", "open", "worse", ""]
    assert [cell.by for cell in curves.cells if cell.against == "worse"] == ["length"]
    of_a_doubling = (-0.3 - 0.29 - 0.3) / 3 / 2  # four times the rows: two doublings
    assert curves.doubling.mean == pytest.approx(of_a_doubling)


def test_sentences_follow_from_the_numbers_alone():
    sentences = selection_curve.sentences(selection_curve.read(sweep_of()))
    assert sentences == [
        "length loses to random at 50 rows: +0.310 (+0.285 to +0.335).",
        "Would more rows help? Probably: from 50 to 200 rows, evaluation loss changed by -0.148 (-0.156 to -0.141) a "
        "doubling.",
    ]
    random, single = {("random", 50): (2.0, 2.1, 2.2)}, {("random", 50): (2.0,)}
    for losses, says in (
        ({**random, ("all", 100): (2.1, 1.9, 2.2)}, "these 3 seeds don't decide it"),
        ({**random, ("all", 100): (2.5, 2.6, 2.71)}, "Not more of these"),
        ({**single, ("all", 100): (1.5,)}, "with one seed"),
        (single, "Not known before"),
    ):
        assert says in selection_curve.about_rows(selection_curve.read(sweep_of(losses)))


def test_a_higher_target_is_better_where_its_metric_says_so_and_what_has_not_finished_has_no_number():
    def checked(number, value, drop=1.0):
        return row(number, check=make_check("ok", drop, target={"exact_match": [0.1, value]}))

    points = [("random", 9, seed, checked(seed, 0.5 + 0.01 * seed)) for seed in (1, 2, 3)]
    points += [("length", 9, seed, checked(10 + seed, 0.7 + 0.011 * seed)) for seed in (1, 2, 3)]
    points += [("length", 9, 4, row(30, state=Queued(1)))]
    curves = selection_curve.read(answer(points))
    length = next(cell for cell in curves.cells if cell.by == "length")
    assert (curves.metric, length.against, length.finished, length.runs) == ("exact_match", "better", 3, 4)
    assert length.retained.mean == -1.0


def test_rows_that_two_selectors_chose_alike_count_for_both():
    points = [("random,no-near-duplicates", 9, seed, row(seed, 1.0 + seed)) for seed in (1, 2)]
    cells = selection_curve.read(answer(points)).cells
    against = [(cell.by, cell.against) for cell in cells]
    assert against == [("random", ""), ("no-near-duplicates", "same rows")]
    assert selection_curve.read(SweepsAnswer([], [], ["train.learning_rate"])) is None
