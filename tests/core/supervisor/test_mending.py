"""Remedies asked of the supervisor: what there is, the job that tries them, what it told, and their export."""

import pytest

from finetop.core import protocol, run as data
from finetop.core.errors import FinetopError


def tried(rig, **plan):
    """A run that forgot, and the job that tried two strengths on it."""
    name = rig.submit("one", steps=20, saved=[10, 20], lost=30, check=True, **plan)
    rig.wait_state(name, "finished")
    rig.wait_job(name, "check")
    return name


def test_a_run_says_what_can_be_done_before_anything_is_tried(rig):
    found = rig.ask(protocol.Remedies(tried(rig)))
    assert (found.run, found.step, found.margin, found.best, found.job) == ("one", 20, 3.0, "", None)
    rows = {row.name: row for row in found.rows}
    assert list(rows)[:3] == ["checkpoint-10", "interpolate-0.75", "interpolate-0.5"]
    assert all(row.verdict == "" and row.about for row in found.rows)
    assert rows["checkpoint-10"].step == 10
    assert {one.name for one in found.retrainings} == {"kl-to-base", "lower-rate", "replay"}
    assert found.now.verdict == "regressed" and found.now.drop > 20, "as its check has it"
    assert (found.metric, found.base) == ("nats_per_token", {"nats_per_token": 2.9})


def test_what_was_tried_is_kept_and_tried_again_takes_its_place(rig):
    name = tried(rig, mended=["interpolate-0.5"], check_s=0.2)
    queued = rig.ask(protocol.Remedy(name, only=["interpolate"]))
    assert queued.names == [
        "interpolate-0.75",
        "interpolate-0.5",
        "interpolate-0.25",
        "interpolate-0.1",
        "interpolate-0.05",
    ]
    with pytest.raises(FinetopError, match="being tried already"):
        rig.ask(protocol.Remedy(name))
    job = rig.wait_job(name, "remedy")
    assert isinstance(job.state, data.Finished) and job.id == queued.job_id
    found = rig.ask(protocol.Remedies(name))
    rows = {row.name: row for row in found.rows}
    assert [name for name, row in rows.items() if row.verdict] == queued.names
    assert (found.best, rows["interpolate-0.5"].confirmation) == ("interpolate-0.5", "ok")
    assert rows["interpolate-0.75"].verdict == "regressed" and found.now.verdict == "regressed"
    assert rows["interpolate-0.5"].drop == pytest.approx(0.4) and rows["interpolate-0.5"].fresh_used == 128
    assert found.trying == queued.names and not found.is_under_way
    rig.ask(protocol.Remedy(name, only=["interpolate-0.5"]))
    rig.wait_job(name, "remedy")
    again = rig.ask(protocol.Sql("SELECT name, verdict, confirmation FROM remedies ORDER BY name"))
    assert again.rows == [
        ["interpolate-0.05", "regressed", ""],
        ["interpolate-0.1", "regressed", ""],
        ["interpolate-0.25", "regressed", ""],
        ["interpolate-0.5", "ok", "ok"],
        ["interpolate-0.75", "regressed", ""],
        ["now", "regressed", ""],
    ]
    rig.ask(protocol.Remove([name]))
    assert rig.ask(protocol.Sql("SELECT count(*) FROM remedies")).rows == [[0]]


def test_only_what_was_tried_is_exported(rig, tmp_path):
    name = tried(rig, mended=["interpolate-0.5"])
    export = protocol.Export(name, str(tmp_path / "out"), remedy="interpolate-0.5")
    with pytest.raises(FinetopError, match="was not tried yet"):
        rig.ask(export)
    with pytest.raises(FinetopError, match="Did you mean"):
        rig.ask(protocol.Export(name, str(tmp_path / "out"), remedy="interpolat"))
    rig.ask(protocol.Remedy(name, only=["interpolate-0.5", "checkpoint"]))
    rig.wait_job(name, "remedy")
    rig.ask(export)
    job = rig.ask(protocol.GetRun(name)).jobs[-1]
    assert job.args["remedy"]["settings"] == {"strength": 0.5} and len(job.args["remedy"]["weights"]) == 64
    assert job.args["checkpoint"] == "checkpoints/step-000020"
    rig.ask(protocol.Export(name, str(tmp_path / "earlier"), remedy="checkpoint-10"))
    assert rig.ask(protocol.GetRun(name)).jobs[-1].args["checkpoint"] == "checkpoints/step-000010"
