"""The GPUs that a job needs: from its recipe, from its verb, from a plan of its model."""

import json
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace
from waiting import LIMIT_S, wait_until

from finetop.core.models import rehearsed
from finetop.core.plan.shape import read_shape
from finetop.core.recipe.load import recipe_from_mapping, resolve_text
from finetop.core.runtime.gpu import Gpu
from finetop.core.store import jobs
from finetop.core.store.database import update
from finetop.core.supervisor.gpus import job_needs
from finetop.core.supervisor.gpus.placement import Want

TEXT = "recipe: 1\nextends: lora\nname: x\ndata: {{train: [{{path: rows.jsonl}}]}}\nmodel: {{id: {model}}}\n{more}"
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Wait for a plan, however busy the machine is."""
    monkeypatch.setattr(job_needs, "PATIENCE_S", LIMIT_S)


@pytest.fixture
def model(tmp_path):
    """The config.json of a model with 8 billion parameters, and no weights."""
    return folder_of(tmp_path, "llama")


def folder_of(tmp_path, family):
    folder = tmp_path / family
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**LLAMA, "model_type": family}))
    return str(folder)


def resolved(model, more=""):
    return resolve_text(TEXT.format(model=model, more=more)).resolved


H100 = Gpu(0, "GPU-0", "H100", 80.0, capability=(9, 0))
V100 = Gpu(0, "GPU-0", "V100", 80.0, capability=(7, 0))


def want(quiet, recipe, verb="train", card=H100):
    """What a job of this recipe needs, once that is known."""
    connection, planner = quiet.supervisor.connection, job_needs.Planner(quiet.home)
    run_id = quiet.queue("x")
    connection.execute("UPDATE runs SET recipe = ? WHERE id = ?", [json.dumps(recipe), run_id])
    connection.execute("UPDATE jobs SET verb = ? WHERE run_id = ?", [verb, run_id])
    (job,) = [queued_job for queued_job in jobs.queued(connection) if queued_job.run_id == run_id]
    return wait_until(lambda: job_needs.want_of(planner, connection, job, card))


def test_what_the_recipe_says_counts_and_all_a_command_has_is_its_budget_and_a_watch_nothing(quiet, model):
    for verb, budget, expected in (
        ("command", "{}", Want(1)),
        ("command", "{gpus: 0}", Want(0)),
        ("command", "{gpus: 3}", Want(3)),
        ("command", "{memory_gib: 9}", Want(1, 9.0)),
        ("watch", "{gpus: 3}", Want(0)),
    ):
        recipe = resolve_text(f"recipe: 1\nname: x\ncommand: [x]\nbudget: {budget}\n").resolved
        assert want(quiet, recipe, verb) == expected
    for budget, expected in (
        ("{gpus: 2, memory_gib: 24}", Want(2, 24.0)), ("{memory_gib: 24}", Want(1, 24.0)), ("{gpus: 0}", Want(0)),
    ):  # fmt: skip
        assert want(quiet, resolved(model, f"budget: {budget}\n")) == expected


def test_else_the_plan_counts_which_knows_the_card_the_verb_and_the_parent_s_model(quiet, model):
    recipe = resolved(model)
    need = want(quiet, recipe)
    assert (need.gpus, need.is_estimate) == (1, True)
    assert 40 < need.gib < 70  # 15 GiB of weights, and what 4 x 1,024 tokens need for the backward pass
    assert want(quiet, resolved(model, "train: {batch_size: 8}\n")).gib > need.gib + 5
    # updates too small for bfloat16 are rounded stochastically; without bfloat16, trainable weights are float32
    full = {**recipe, "method": {"name": "full"}}
    assert want(quiet, full, card=V100).gib > want(quiet, full).gib + 50
    # a check has the weights in bfloat16, and 8 GiB; an export has them twice in float32, and 4 GiB
    large = resolved(model, "budget: {gpus: 4, memory_gib: 70}\n")
    for verb, gib in (("check", 23), ("export", 64)):
        own = want(quiet, large, verb)
        assert (own.gpus, round(own.gib)) == (1, gib)
    # of full tuning too: float32 masters are rounded before a check
    masters = {**large, "method": {"name": "full"}, "train": {**large["train"], "master": "float32"}}
    assert round(want(quiet, masters, "check").gib) == 23
    assert want(quiet, large, "import") == Want(0)
    parent = quiet.queue("parent")
    update(quiet.supervisor.connection, "runs", parent, recipe=json.dumps(recipe))
    child = {**recipe, "model": {**recipe["model"], "id": f"run:{parent}@20"}}
    assert want(quiet, child).gib == need.gib


def test_a_model_that_was_built_before_counts_as_it_is(quiet, tmp_path, model):
    def keep(folder, **facts):
        shape, recipe = (
            replace(read_shape(LLAMA), **facts),
            recipe_from_mapping(resolved(folder), to_train=False),
        )
        rehearsed.keep_shape(recipe, Path(folder) / "config.json", quiet.home, shape)

    guessed = want(quiet, resolved(model))
    keep(model, experts=10**9)
    assert want(quiet, resolved(model)).gib == pytest.approx(guessed.gib + 1.1 * 2e9 / 2**30, rel=0.01)
    # a family that its config alone does not tell gets a GPU alone until it was built
    gemma = folder_of(tmp_path, "gemma2")
    assert want(quiet, resolved(gemma)).gib is None
    keep(gemma, family="gemma2")
    assert want(quiet, resolved(gemma)).gib > 40


def test_a_model_without_a_plan_gets_a_gpu_alone(quiet, tmp_path, model, monkeypatch):
    (tmp_path / "config.json").write_text('{"hidden_size": "wide"}')
    for model_id in (
        "./not-there",
        "no-such/model-here",
        "run:77@20",
        str(tmp_path),
    ):  # 77: left out by a rebuild
        assert want(quiet, resolved(model_id)) == Want(1, None, is_estimate=True), model_id
    # one that never comes is not waited for
    goes_on = threading.Event()
    monkeypatch.setattr(job_needs, "PATIENCE_S", 0.0)
    monkeypatch.setattr(job_needs, "estimate", lambda *about: goes_on.wait())
    assert want(quiet, resolved(model)).gib is None
    goes_on.set()
