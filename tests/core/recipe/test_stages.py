"""Chains: what stages share and begin from, and one line with its place for each error."""

from __future__ import annotations

import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.find import list_builtin, list_chains
from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.references import references
from finetop.core.recipe.stages import load_chain

CHAIN = """recipe: 1
name: c
model: {id: org/base, dtype: float32}
train: {epochs: 7}
stages:
  - name: sft
    extends: lora
  - name: reward
    extends: reward
    train: {epochs: 1}
  - name: ppo
    extends: ppo
    method: {rank: 4}
"""


def load(tmp_path, text=CHAIN, sets=()):
    (tmp_path / "chain.yaml").write_text(text)
    return load_chain("chain.yaml", sets, tmp_path)


def test_stages_share_what_stands_above_begin_from_those_before_and_hold_what_they_say(tmp_path):
    chain = load(tmp_path, sets=["train.seed=5", "ppo.train.batch_size=2"])
    assert chain.name == "c"
    recipes = {stage.name: stage.loaded.recipe for stage in chain.stages}
    assert [recipe.name for recipe in recipes.values()] == ["c.sft", "c.reward", "c.ppo"]
    assert [recipe.model.id for recipe in recipes.values()] == ["org/base", "stage:sft", "stage:sft"]
    assert {recipe.model.dtype for recipe in recipes.values()} == {"float32"}
    assert [recipe.train.epochs for recipe in recipes.values()] == [7, 1, 7]
    assert [recipe.train.seed for recipe in recipes.values()] == [5, 5, 5]
    assert (recipes["ppo"].train.batch_size, recipes["sft"].train.batch_size) == (2, 4)
    assert recipes["ppo"].method.options.rank == 4
    named = {key: str(one) for key, one in references(chain.stages[2].loaded.resolved).items()}
    assert named == {"model.id": "stage:sft", "objective.reward.model": "stage:reward"}
    assert recipes["ppo"].objective.options.reward.rules == ()
    own = "    model: {id: 'stage:sft@40'}\n    objective: {reward: {model: 'run:old@9'}}\n"
    named = references(load(tmp_path, CHAIN + own).stages[2].loaded.resolved)
    assert [str(reference) for reference in named.values()] == ["stage:sft@40", "run:old@9"]
    assert load(tmp_path, sets=["name=mine"]).name == "mine"
    assert load(tmp_path, "recipe: 1\nextends: lora\n") is None
    chain = load(tmp_path, sets=['name="links"'])
    assert (chain.name, chain.stages[0].loaded.recipe.name) == ("links", "links.sft")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: ppo", "name: sft", r"chain\.yaml:11: stage sft: another stage has that name\. Rename it\."),
        ("name: ppo", "name: train", r"chain\.yaml:11: stage train: a section of every recipe has that name"),
        ("name: ppo", "name: P P", r"chain\.yaml:11: a stage is named 'P P'\."),
        ("- name: ppo\n    extends", "- extends", r"chain\.yaml:11: a stage has no name"),
        ("rank: 4", "rnk: 4", r"chain\.yaml:13: method\.rnk is not an option of lora\. Did you mean rank\?"),
        ("epochs: 1}", "epochs: 1}\n    model: {id: 'stage:spt'}",
         r"chain\.yaml:11: stage reward: model\.id: there is no stage spt\. Did you mean sft\?"),
        ("epochs: 1}", "epochs: 1}\n    model: {id: 'stage:ppo'}",
         r"chain\.yaml:11: stage reward: model\.id: it begins from ppo, which comes after it\."),
        ("epochs: 1}", "epochs: 1}\n    model: {id: 'stage:reward'}", r"model\.id: it begins from itself\."),
        ("epochs: 1}", "epochs: 1}\n    model: {id: 'run:x@y'}", r"model\.id: 'run:x@y' names no run\."),
        (CHAIN[CHAIN.index("  - name: sft"):], "  []\n", r"stages must be a list of 1 to 20 stages"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_one_line_with_its_place(tmp_path, old, new, says):
    assert old in CHAIN
    with pytest.raises(RecipeError, match=says):
        load(tmp_path, CHAIN.replace(old, new))


def test_the_chains_that_come_with_finetop_load_and_are_no_single_recipes(tmp_path):
    names = [recipe.name for recipe in list_chains()]
    assert names == ["chain-dpo", "rlhf"]
    assert not {recipe.name for recipe in list_builtin()} & set(names)
    chains = [load_chain(name, cwd=tmp_path) for name in names]
    assert [(chain.name, len(chain.stages)) for chain in chains] == [(name, 3) for name in names]


def extended(tmp_path, text, sets=()):
    (tmp_path / "chain.yaml").write_text(CHAIN)
    (tmp_path / "mine.yaml").write_text(f"recipe: 1\nextends: ./chain.yaml\n{text}")
    chain = load_chain("mine.yaml", sets, tmp_path)
    assert chain is not None
    return {stage.name: stage.loaded for stage in chain.stages}


def test_a_chain_that_extends_another_lays_its_own_stages_over_them_or_leaves_one_out(tmp_path):
    plain = extended(tmp_path, "")
    assert list(plain) == ["sft", "reward", "ppo"]
    assert plain["sft"].recipe.name == "mine.sft"
    text = (
        "train: {seed: 3}\nstages:\n  - {name: domain, extends: continued-pretraining}\n"
        "  - {name: sft, extends: full, train: {batch_size: 2}}\n"
        "  - {name: reward, train: {batch_size: 6}}\n  - {name: dpo, extends: dpo}\n"
    )
    chain_made = extended(tmp_path, text, ["reward.train.max_steps=5"])
    assert list(chain_made) == ["domain", "sft", "reward", "ppo", "dpo"]
    recipes = {name: loaded.recipe for name, loaded in chain_made.items()}
    assert {recipe.train.seed for recipe in recipes.values()} == {3}
    assert recipes["sft"].method.name == "full"
    assert (recipes["reward"].train.batch_size, recipes["reward"].train.epochs) == (6, 1)
    assert [recipe.train.max_steps for recipe in recipes.values()] == [None, None, 5, None, None]
    assert [recipe.model.id for recipe in recipes.values()] == [
        "org/base", "stage:domain", "stage:sft", "stage:sft", "stage:ppo",
    ]  # fmt: skip
    assert recipes["ppo"].method.options.rank == 4
    assert chain_made["ppo"].places["method.rank"] == "chain.yaml:13"
    assert chain_made["ppo"].chain == ("mine.yaml", "builtin:ppo.yaml")
    text = "stages:\n  - {name: reward, leave_out: true}\n  - {name: ppo, objective: {reward: {%s}}}\n"
    chain_made = extended(tmp_path, text % "rules: [{rule: one_word}]")
    assert list(chain_made) == ["sft", "ppo"]
    assert chain_made["ppo"].recipe.model.id == "stage:sft"
    says = r"mine\.yaml:5: stage ppo: objective\.reward\.model: there is no stage reward"
    with pytest.raises(RecipeError, match=says):
        extended(tmp_path, text % "model: 'stage:reward'")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stages: [{name: sftt, leave_out: true}]\n",
         r"mine\.yaml:3: stage sftt: no such stage to leave out\. Did you mean sft\?"),
        ("stages: [{name: sft, leave_out: 1}]\n", r"mine\.yaml:3: stage sft: leave_out is not alone\. Write"),
        ("stages: [{name: sft, leave_out: true}, {name: reward, leave_out: true}, {name: ppo, leave_out: true}]\n",
         r"mine\.yaml:3: the chain has 0 stages\."),
        ("stages: [{name: sft, trian: {}}]\n", r"mine\.yaml:3: trian is not a section of a recipe\."),
        ("stages: [{name: sft, train: {stages: []}}]\n", r"A chain's stages are at the top level of its recipe\."),
    ],
)  # fmt: skip
def test_an_extended_chain_that_can_not_be_is_one_line_with_its_place(tmp_path, text, says):
    with pytest.raises(RecipeError, match=says):
        extended(tmp_path, text)


def test_a_slip_in_the_stage_of_a_set_and_a_chain_in_the_place_of_one_recipe_are_named(tmp_path):
    for slip, says in (("pppo", r"Did you mean ppo\?"), ("zzzz", r"Stages: sft, reward, ppo\.")):
        with pytest.raises(RecipeError, match=rf"--set: {slip} is neither a stage nor a section\. {says}"):
            load(tmp_path, sets=[f"{slip}.train.seed=1"])
    with pytest.raises(RecipeError, match=r"builtin:rlhf\.yaml:10: stages: this is a chain of runs"):
        load_recipe("rlhf", (), tmp_path)
    (tmp_path / "no.yaml").write_text("extends: rlhf\nstages: []\n")
    with pytest.raises(RecipeError, match=r"no\.yaml:1: no version"):
        load_chain("no.yaml", (), tmp_path)
