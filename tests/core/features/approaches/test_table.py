"""The rows of a comparison from its runs' events: paired, by each metric, with the best by that metric."""

import dataclasses

import pytest

from finetop.core.features.approaches.table import Member, Trained, rows
from finetop.core.protocol.events import ApproachMeasured, QueryPrice, RowScore
from finetop.core.protocol.runs import Finished, JobRow, RunRow, Share


def member(number, approach, f1, nats, trained=None, **told):
    scores = {
        "token_f1": [RowScore(str(at), value, 1.0) for at, value in enumerate(f1)],
        "nats_per_token": [RowScore(str(at), 4 * value, 4.0) for at, value in enumerate(nats)],
    }
    row = RunRow(
        id=number, name=approach, model="m", method="none", objective="none", state=Finished(1.0, 2.0), created=1.0,
        step=8, steps=8, metrics={}, check=None, checking=None, needs_you=False,
    )  # fmt: skip
    measured = ApproachMeasured(approach=approach, scores=scores, prompt_tokens=9.0, **told)
    return Member(approach, 1, False, row, {}, [], measured, None, None, trained)


def test_each_metric_has_its_own_best_and_the_others_their_paired_difference_to_it():
    table = rows(
        [member(1, "prompt", [0.1, 0.2, 0.3], [2.0, 2.2, 2.4]),
         member(2, "retrieval", [0.5, 0.6, 0.9], [3.0, 3.2, 3.6], index_s=2.0)],
        "token_f1", {"lora": "no rows"},
    )  # fmt: skip
    assert [row.name for row in table] == ["retrieval", "prompt", "lora"]
    best, prompt, absent = table
    assert best.is_best and best.gap is None and prompt.gap.mean == pytest.approx(-0.4667, abs=1e-3)
    assert best.other_gaps["nats_per_token"].mean == pytest.approx(1.0667, abs=1e-3) and not prompt.other_gaps
    assert best.setup_s == 2.0 and best.retained.same_weights
    assert (absent.state, absent.message, absent.target) == ("left out", "no rows", None)


def test_leaks_are_counted_with_those_that_were_scored():
    leaky = member(1, "lora", [0.1, 0.2], [2.0, 2.1], tested=70, leaked=["0", "1", "50"])
    clean = member(2, "prompt", [0.1, 0.2], [2.0, 2.1])
    facts = {
        row.name: (row.tested, row.leaked, row.leaked_scored) for row in rows([leaky, clean], "token_f1", {})
    }
    assert facts == {"lora": (70, 3, 2), "prompt": (0, 0, 0)}


def test_rows_seen_are_those_that_the_measured_checkpoint_read():
    of = Trained(70, (2.0, 1.5), midway=1.7, epochs_a_step=1 / 35)
    (last,) = rows([member(1, "lora", [0.1], [2.0], of)], "token_f1", {})
    assert (last.rows_seen, last.rows_given, round(last.epochs_seen, 3)) == (16, 70, 0.229)
    assert (last.losses, last.loss_midway) == ((2.0, 1.5), 1.7)
    (best,) = rows([member(1, "lora", [0.1], [2.0], of, step=4)], "token_f1", {})
    assert best.rows_seen == 8, "of the checkpoint that was kept"
    seeds = [
        member(at, "lora", [0.1], [2.0], Trained(70, None, epochs_a_step=e))
        for at, e in enumerate((1.0, 0.1))
    ]
    (least,) = rows(seeds, "token_f1", {})
    assert (least.rows_seen, least.epochs_seen) == (56, 0.8) and least.losses is None
    (all_read,) = rows(seeds[:1], "token_f1", {})
    assert (all_read.rows_seen, all_read.epochs_seen) == (70, 8.0), "distinct rows are capped"
    (old,) = rows([member(1, "lora", [0.1], [2.0], Trained(70, None))], "token_f1", {})
    assert (old.rows_seen, old.epochs_seen) == (70, None)


def test_prices_are_of_the_questions_that_all_were_priced_on():
    def priced(number, approach, spent, others=0.0):
        queries = [QueryPrice(str(at), each) for at, each in enumerate(spent)]
        return member(number, approach, [0.1], [2.0], queries=queries, price_of="CPU", others=others)

    table = rows(
        [priced(1, "prompt", [[1.0, 1.2, 1.1], [3.0, 3.0, 3.0], [99.0, 99.0, 99.0]]),
         priced(2, "retrieval", [[2.0, 4.0, 6.0], [2.0, 4.0, 6.0]], 0.1),
         priced(3, "retrieval", [[3.0, 3.0, 3.0], [3.0, 3.0, 3.0]], 0.5)],
        "token_f1", {},
    )  # fmt: skip
    price = {row.name: row.query for row in table}
    plain, looked_up = price["prompt"], price["retrieval"]
    assert (plain.low, plain.median, plain.high) == pytest.approx((2.0, 2.05, 2.1))
    assert (looked_up.low, looked_up.median, looked_up.high) == (2.0, 3.0, 6.0)
    assert (looked_up.queries, looked_up.rounds, looked_up.others, looked_up.of) == (2, 6, 0.5, "CPU")


@pytest.mark.parametrize(("gpus", "asked", "energy_wh"), [(2, 2, 600.0), (0, 4, 1200.0), (0, None, 300.0)])
def test_energy_is_that_of_all_gpus(gpus, asked, energy_wh):
    first_member = member(1, "lora", [0.1], [2.0], Trained(70, None, epochs_a_step=1.0))
    shares = [Share(f"GPU-{number}", number, "H100", None) for number in range(gpus)]
    job = JobRow(1, "train", Finished(since=0.0, ended=3600.0), 1, "jobs/0001-train", 0, gpus=shares)
    first_member = dataclasses.replace(
        first_member, jobs=[job], watts=300.0, recipe={"budget": {"gpus": asked}}
    )
    (row,) = rows([first_member], "token_f1", {})
    assert row.energy_wh == energy_wh
