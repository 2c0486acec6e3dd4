"""An ended run resumes from a checkpoint under the real supervisor: one curve, no unrequested loss."""

import json
from types import SimpleNamespace

import pytest
from rig import load_recipe

from finetop.core.errors import BadInput, FinetopError
from finetop.core.protocol.messages.queue import Queue, Retry
from finetop.core.protocol.messages.runs import EventsSince, GetRun, Runs, Sql
from finetop.core.protocol.messages.submit import Resume, Stage, SubmitChain
from finetop.core.protocol.runs import Finished
from finetop.core.recipe.dotted import changes
from finetop.core.recipe.length import count_steps
from finetop.core.recipe.load import resolve_text
from finetop.core.supervisor.requests.resume import require_work


def steps(rig, name):
    return [row.step for row in rig.ask(EventsSince(name)).steps]


def recipe_of(rig, name, **train):
    recipe = rig.ask(GetRun(name)).recipe
    return {**recipe, "train": {**recipe["train"], **train}}


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_newest_checkpoint_with_one_curve(rig):
    name = rig.submit(steps=12, saved=[4, 8], end="die", once=True)
    assert rig.wait_state(name, "failed").step == 12
    answer = rig.ask(Resume(name, recipe=recipe_of(rig, name, batch_size=8, learning_rate=1e-3)))
    assert (answer.run, answer.step) == (name, 8)
    assert answer.changes == [
        "train.batch_size: 4 -> 8 changes the data order, and how far into an epoch a step is",
        "train.learning_rate: 2e-4 -> 0.001 follows the new schedule",
    ]
    row = rig.wait_state(name, "finished")
    assert (row.step, row.metrics["loss"]) == (12, pytest.approx(1 / 12))
    assert steps(rig, name) == list(range(1, 13))
    count = "SELECT count(*), count(DISTINCT step) FROM metrics WHERE key = 'loss'"
    assert rig.ask(Sql(count)).rows == [[12, 12]]
    detail = rig.ask(GetRun(name))
    assert [job.verb for job in detail.jobs] == ["train", "train"]
    assert detail.jobs[1].args["changes"] == answer.changes
    assert detail.recipe["train"]["batch_size"] == 8
    assert [checkpoint.step for checkpoint in detail.checkpoints] == [4, 8]
    unsaved = rig.submit(steps=3, saved=[], end="crash", once=True)
    rig.wait_state(unsaved, "failed")
    assert rig.ask(Resume(unsaved)).step == 0, "it begins anew"
    rig.wait_state(unsaved, "finished")
    assert steps(rig, unsaved) == [1, 2, 3]
    # what can't be is refused with what to do
    name = rig.submit("short", steps=6, saved=[2, 4, 6])
    rig.wait_state(name, "finished")
    for ask, kind, says in (
        (Resume(name), FinetopError, "left to do after step 6. Make it longer: finetop resume short"),
        (Resume(name, 2), FinetopError, "removes the later checkpoints of short: 4, 6"),
        (Resume(name, 3), BadInput, "no checkpoint at step 3. It has 2, 4, 6."),
        (Resume(name, recipe=recipe_of(rig, name, optimizer="sgd")), BadInput, "train.optimizer can't change"),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            rig.ask(ask)
        assert says in str(caught.value)
    longer = recipe_of(rig, name, epochs=9.0)
    assert rig.ask(Resume(name, recipe=longer)).step == 6
    rig.wait_state(name, "finished")
    busy = rig.submit("busy", waits_at=1)
    rig.wait_state(busy, "running")
    with pytest.raises(FinetopError, match="busy is running"):
        rig.ask(Resume(busy))


@pytest.mark.slow
def test_a_stage_waits_for_its_parent_and_starts_when_that_was_resumed(rig):
    resolved = load_recipe().resolved

    def stage(name, about, model="smollm2-135m-instruct"):
        return Stage(name, {**resolved, "about": about, "model": {**resolved["model"], "id": model}})

    stages = [
        stage("sft", '{"steps": 4, "saved": [2], "end": "die", "once": true}'),
        stage("dpo", '{"steps": 2, "saved": [2]}', "stage:sft@2"),
        stage("last", '{"steps": 1}', "stage:dpo"),
    ]
    with pytest.raises(BadInput, match=r"stage dpo: model\.id: there is no stage 'spt' before it"):
        rig.ask(SubmitChain("c", [stages[0], stage("dpo", "", "stage:spt")], "text"))
    assert rig.ask(Runs()).total == 0
    assert list(rig.home.runs.iterdir()) == []
    stages[1] = stage("dpo", '{"steps": 2, "saved": [2]}', "stage:sft")
    answer = rig.ask(SubmitChain("c", stages, "text"))
    assert [run.name for run in answer.runs] == ["c.sft", "c.dpo", "c.last"]
    rig.wait_state("c.sft", "failed")
    row = rig.ask(GetRun("c.dpo")).row
    assert row.state.because == "waits for c.sft, which has failed: finetop retry c.sft"
    assert rig.ask(GetRun("c.last")).row.state.because == "waits for c.dpo"
    assert rig.ask(Queue()).rows[0].do == "finetop retry c.sft"
    answer = rig.ask(Retry("c.sft"))
    assert (answer.what, answer.step) == ("train", 2)
    rig.wait_state("c.last", "finished")
    detail = rig.ask(GetRun("c.dpo"))
    assert detail.recipe["model"]["id"] == "run:1@2"
    assert detail.row.model == "run:c.sft@2"
    (parent,) = detail.parents
    assert (parent.name, parent.setting, parent.step) == ("c.sft", "model.id", 2)
    assert [parent.name for parent in detail.children] == ["c.last"]
    again = rig.ask(SubmitChain("c", stages, "text", first="last"))
    assert [run.name for run in again.runs] == ["c.last-2"]
    rig.wait_state("c.last-2", "finished")
    assert rig.ask(GetRun("c.last-2")).recipe["model"]["id"] == "run:2@2"


def test_a_finished_run_of_so_many_steps_is_made_longer_as_its_hint_says(rig):
    """With max_steps set, epochs would not make it longer."""
    long = resolve_text("recipe: 1\nextends: lora\nname: long\ntrain: {max_steps: 6}\n").resolved
    for recipe, key in (
        (long, "train.max_steps"),
        ({**long, "train": {**long["train"], "max_steps": None}}, "train.epochs"),
    ):
        detail = SimpleNamespace(row=SimpleNamespace(state=Finished(1.0, 2.0), steps=6), recipe=recipe)
        with pytest.raises(FinetopError) as refused:
            require_work(detail, "long", 6, [])
        change = refused.value.hint.partition("--set ")[2]
        assert change.startswith(f"{key}=")
        again = resolve_text(json.dumps(recipe), [change], label="the run's recipe")
        require_work(detail, "long", 6, changes(recipe, again.resolved))
        before = count_steps(resolve_text(json.dumps(recipe)).recipe.train, 32)
        assert count_steps(again.recipe.train, 32) > min(6, before)
