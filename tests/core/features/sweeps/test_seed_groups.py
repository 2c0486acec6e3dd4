"""Runs that differ only in their seed, as mean and spread."""

import statistics

from tui_fakes import make_check, make_row

from finetop.core.features.sweeps.seed_groups import (
    Spread,
    loss,
    retained,
    settings,
    spread,
    spread_text,
    target,
)
from finetop.core.protocol.messages.runs import SweptRun
from finetop.core.protocol.runs import Finished, Queued


def run(number, metrics=None, check=None, state=None):
    return make_row(number, f"r{number}", state or Finished(1, 2), metrics=metrics or {}, check=check)


def test_runs_of_one_setting_are_one_row_in_the_order_of_their_first():
    rows = [("1e-5", "1", run(1)), ("2e-5", "1", run(2)), ("1e-5", "2", run(3))]
    swept = [SweptRun(row, {"lr": lr, "train.seed": seed}) for lr, seed, row in rows]
    groups = settings(swept, ["lr"])
    grouped = [(group.values, [row.id for row in group.runs]) for group in groups]
    assert grouped == [(("1e-5",), [1, 3]), (("2e-5",), [2])]


def test_the_spread_is_the_sample_s_and_counts_only_what_has_finished():
    losses = [0.9, 1.1, 1.3]
    runs = [run(n, {"loss": value}) for n, value in enumerate(losses)]
    runs.append(run(9, {"loss": 5.0}, state=Queued(1)))
    groups = spread(runs, loss)
    assert groups == Spread(3, statistics.fmean(losses), statistics.stdev(losses))
    assert spread_text(groups, 3) == "1.100 ± 0.200"
    assert spread_text(spread(runs[:1], loss), 3) == "0.900"
    assert spread_text(spread([], loss), 3) == "-"
    assert spread([run(1, {"loss": None})], loss) is None


def test_the_numbers_are_those_of_the_evaluation_and_of_the_check():
    first = run(1, {"loss": 1.0, "eval_loss": 2.0}, make_check("ok", 9.1, target={"exact_match": [0.7, 0.9]}))
    assert (loss(first), target(first), retained(first)) == (2.0, 0.9, -9.1)
    assert spread_text(spread([first], retained), 1, sign=True) == "-9.1"
    bare = run(2, {"loss": 1.0}, make_check("ok", None, target={}))
    assert (loss(bare), target(bare), retained(bare)) == (1.0, None, None)
