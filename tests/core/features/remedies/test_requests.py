"""Requests for remedies: the available ones, the job that tries them, its results, and their export."""

import pytest

from finetop.core.errors import FinetopError
from finetop.core.features.export.messages import Export
from finetop.core.features.remedies.messages import Remedies, Remedy
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import GetRun, Sql
from finetop.core.protocol.messages.trash import Remove

STRENGTHS = [f"interpolate-{strength}" for strength in (0.75, 0.5, 0.25, 0.1, 0.05)]


@pytest.mark.slow
def test_what_can_be_done_is_tried_kept_exported_and_removed_with_the_run(rig, tmp_path):
    name = rig.submit(
        "one", steps=20, saved=[10, 20], lost=30, check=True, fixed=["interpolate-0.5"], holds=["remedy"]
    )
    rig.wait_job(name, "check")
    answer = rig.ask(Remedies(name))
    assert (answer.run, answer.step, answer.margin, answer.best, answer.job) == ("one", 20, 3.0, "", None)
    rows = {row.name: row for row in answer.rows}
    assert list(rows)[:6] == ["checkpoint-10", *STRENGTHS]
    assert all(row.verdict == "" and row.about for row in answer.rows)
    assert rows["checkpoint-10"].step == 10
    assert {entry.name for entry in answer.retrainings} == {"kl-to-base", "lower-rate", "replay"}
    assert answer.now.verdict == "regressed" and answer.now.drop > 20, "as its check has it"
    assert (answer.metric, answer.base) == ("nats_per_token", {"nats_per_token": 2.9})
    export = Export(name, str(tmp_path / "out"), remedy="interpolate-0.5")
    with pytest.raises(FinetopError, match="was not tried yet"):
        rig.ask(export)
    with pytest.raises(FinetopError, match="Options: "):
        rig.ask(Export(name, str(tmp_path / "out"), remedy="interpolat"))

    queued = rig.ask(Remedy(name, only=["interpolate"]))
    assert queued.names == STRENGTHS
    with pytest.raises(FinetopError, match="already being tried"):
        rig.ask(Remedy(name))
    rig.let_go(name, "remedy")
    job = rig.wait_job(name, "remedy")
    assert isinstance(job.state, data.Finished) and job.id == queued.job_id
    answer = rig.ask(Remedies(name))
    rows = {row.name: row for row in answer.rows}
    assert [name for name, row in rows.items() if row.verdict] == STRENGTHS
    assert (answer.best, rows["interpolate-0.5"].confirmation) == ("interpolate-0.5", "ok")
    assert rows["interpolate-0.75"].decided == pytest.approx((5.0, 13.0)), "not the ability's"
    assert rows["interpolate-0.5"].fresh_decided == pytest.approx((-2.0, 2.0))
    assert rows["interpolate-0.75"].verdict == "regressed" and answer.now.drop == pytest.approx(9.0)
    assert rows["interpolate-0.5"].drop == pytest.approx(0.4) and rows["interpolate-0.5"].fresh_used == 128
    assert answer.trying == STRENGTHS and not answer.is_under_way
    assert answer.price_s == pytest.approx(1.5), "as long as those took that were tried"
    [shares] = rig.ask(Sql("SELECT low, high FROM remedies WHERE name = 'interpolate-0.75'")).rows
    assert shares == pytest.approx([0.05, 0.13]), "points on the screen, shares in the table"

    # a repeated one replaces its earlier result
    rig.ask(Remedy(name, only=["interpolate-0.5", "checkpoint"]))
    rig.wait_job(name, "remedy")
    again = rig.ask(Sql("SELECT name, verdict, confirmation FROM remedies ORDER BY name")).rows
    verdicts = {name: ["regressed", ""] for name in ("checkpoint-10", *sorted(STRENGTHS), "now")}
    verdicts["interpolate-0.5"] = ["ok", "ok"]
    assert again == [[name, *words] for name, words in verdicts.items()]

    rig.ask(export)
    told = rig.ask(GetRun(name)).jobs[-1].args
    assert told["remedy"]["settings"] == {"strength": 0.5} and len(told["remedy"]["weights"]) == 64
    assert told["checkpoint"] == "checkpoints/step-000020"
    assert told["verdict"].startswith("OK ") and "confirmed on 128 of" in told["verdict"], (
        "of the remedied model"
    )
    queued = rig.ask(Export(name, str(tmp_path / "earlier"), remedy="checkpoint-10"))
    assert queued.warning.startswith("one@20 with checkpoint-10 is REGRESSED: -9.0 points"), queued.warning
    assert rig.ask(GetRun(name)).jobs[-1].args["checkpoint"] == "checkpoints/step-000010"
    rig.wait_job(name, "export")
    rig.ask(Remove([name]))
    assert rig.ask(Sql("SELECT count(*) FROM remedies")).rows == [[0]]
