"""Requested exports: of the whole model or of the adapter alone, and refusals of both."""

import pytest
from msgspec.structs import replace

from finetop.core.errors import BadInput
from finetop.core.features.export import requests
from finetop.core.features.export.messages import Export
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.recipe.load import load_recipe
from finetop.core.supervisor.requests import parent_runs


def test_an_adapter_is_exported_as_it_was_trained(rig, tmp_path):
    name = rig.submit(steps=4, saved=[2, 4])
    rig.wait_state(name, "finished")
    for more in ({"dtype": "float32"}, {"remedy": "interpolate-0.5"}):
        with pytest.raises(BadInput, match="an adapter is exported as it was trained"):
            rig.ask(Export(name, str(tmp_path / "out"), adapter=True, **more))
    assert rig.ask(Export(name, str(tmp_path / "out"), adapter=True)).step == 4
    job = next(job for job in rig.ask(GetRun(name)).jobs if job.verb == "export")
    assert (job.args["adapter"], job.args["dtype"]) == (True, "auto")


@pytest.mark.slow
def test_gguf_files_are_ordered_by_format(rig, tmp_path, monkeypatch):
    name = rig.submit(steps=4, saved=[2, 4])
    rig.wait_state(name, "finished")
    monkeypatch.setattr(requests.parts, "require", lambda package: None)
    order = Export(name, str(tmp_path / "out"), quants="q8_0, Q4_K_M")
    for change, says in (
        ({"quants": "q9"}, "'q9' is not a number format"),
        ({"adapter": True}, "no GGUF file"),
    ):
        with pytest.raises(BadInput, match=says):
            rig.ask(replace(order, **change))
    rig.ask(order)
    job = next(job for job in rig.ask(GetRun(name)).jobs if job.verb == "export")
    assert job.args["quants"] == "q8_0,q4_k_m"
    assert job.args["unasked"] == f"{name}@4 has no check to compare with (finetop check {name}@4)"
    with pytest.raises(BadInput, match="only GGUF files get a verdict"):
        rig.ask(replace(order, quants="", anyway=True))
    rig.ask(Check(name))
    rig.wait_job(name, "check")
    for change, asks in (
        ({"anyway": True}, {"general": {}, "anyway": True}),
        ({"unchecked": True}, {"unasked": "--no-check"}),
    ):
        rig.ask(replace(order, **change))
        job = max((job for job in rig.ask(GetRun(name)).jobs if job.verb == "export"), key=lambda job: job.id)
        keys = ("general", "anyway", "unasked")
        assert {key: job.args[key] for key in keys if key in job.args} == asks


def test_a_reward_model_is_no_gguf_file(monkeypatch):
    monkeypatch.setattr(requests.parts, "require", lambda package: None)
    order = Export("mine", "/nowhere/out", quants="q8_0")
    with pytest.raises(BadInput, match="mine is a reward model"):
        requests.gguf_formats(order, {"objective": {"name": "reward"}}, "mine")


def test_what_has_no_adapter_and_what_is_nothing_else():
    whole, adapter = parent_runs.require_whole, parent_runs.require_adapter
    for method, refuses, takes, says in (
        ("full", adapter, whole, "trains a whole model, not an adapter. Export it whole: finetop export"),
        ("p-tuning", whole, adapter, "can't be merged .*: finetop export mine --adapter"),
    ):
        recipe = load_recipe("lora", [f"method.name={method}"]).resolved
        with pytest.raises(BadInput, match=says):
            refuses(recipe, "mine")
        takes(recipe, "mine")
