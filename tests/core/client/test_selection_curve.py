"""The results of a curve over selected rows: intervals, who loses to random, and whether more rows would help."""

from __future__ import annotations

import pytest
from scipy import stats

from finetop.core.client import selection_curve
from finetop.core.protocol.messages.runs import SweepsAnswer, SweptRun
from finetop.core.protocol.runs import CheckBrief, Finished, Queued, RunRow


def row(number, loss=None, state=None, check=None):
    return RunRow(
        id=number, name=f"r{number}", model="m", method="lora", objective="sft", state=state or Finished(1, 2),
        created=0, step=1, steps=1, metrics={} if loss is None else {"eval_loss": loss}, check=check, checking=None,
        needs_you=False,
    )  # fmt: skip


def answer(points):
    """Return a sweep of runs, each given as (by, rows, seed, run)."""
    runs = [
        SweptRun(run, {"select.by": by, "rows": str(rows), "train.seed": str(seed)})
        for by, rows, seed, run in points
    ]
    return SweepsAnswer([], runs, ["select.by", "rows"])


LOSSES = {
    ("random", 50): (2.0, 2.1, 2.2),
    ("length", 50): (2.31, 2.40, 2.52),
    ("diversity", 50): (1.9, 2.2, 2.15),
    ("all", 200): (1.7, 1.81, 1.9),
}


def made(losses=LOSSES):
    return answer(
        (by, rows, seed, row(100 * at + seed, value))
        for at, ((by, rows), values) in enumerate(losses.items())
        for seed, value in enumerate(values, 1)
    )


def test_intervals_are_of_the_t_distribution_and_differences_paired_by_seed():
    curves = selection_curve.read(made())
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
    assert curves.doubling.mean == pytest.approx((-0.3 - 0.29 - 0.3) / 3 / 2), (
        "four times the rows are two doublings"
    )


def test_sentences_follow_from_the_numbers_alone():
    says = selection_curve.sentences(selection_curve.read(made()))
    assert says == [
        "length loses to random at 50 rows: +0.310 (+0.285 to +0.335).",
        "Would more rows help? Probably: from 50 to 200 rows, evaluation loss changed by -0.148 (-0.156 to -0.141) a "
        "doubling.",
    ]
    noise = selection_curve.read(made({("random", 50): (2.0, 2.1, 2.2), ("all", 100): (2.1, 1.9, 2.2)}))
    assert "these 3 seeds don't decide it" in selection_curve.about_rows(noise)
    worse = selection_curve.read(made({("random", 50): (2.0, 2.1, 2.2), ("all", 100): (2.5, 2.6, 2.71)}))
    assert "Not more of these" in selection_curve.about_rows(worse)
    one_seed = selection_curve.read(made({("random", 50): (2.0,), ("all", 100): (1.5,)}))
    assert "with one seed" in selection_curve.about_rows(one_seed)
    none = selection_curve.read(made({("random", 50): (2.0,)}))
    assert "Not known before" in selection_curve.about_rows(none)


def test_a_higher_target_is_better_where_its_metric_says_so_and_what_has_not_finished_has_no_number():
    def checked(number, value, drop=1.0):
        brief = CheckBrief(
            1, "ok", "", 1, drop, 3.0, False, 9, 9, "quick", 0.0, [], {"exact_match": [0.1, value]}
        )
        return row(number, check=brief)

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
    assert [(cell.by, cell.against) for cell in cells] == [
        ("random", ""),
        ("no-near-duplicates", "same rows"),
    ]
    assert selection_curve.read(SweepsAnswer([], [], ["train.learning_rate"])) is None
