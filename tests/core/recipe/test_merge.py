"""What a recipe inherits from the one it extends, and what replaces it; --set follows the same rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.stages import load_chain


def resolved(tmp_path: Path, parent: str, child: str, *sets: str) -> dict:
    (tmp_path / "parent.yaml").write_text(f"recipe: 1\n{parent}")
    (tmp_path / "child.yaml").write_text(f"recipe: 1\nextends: ./parent.yaml\n{child}")
    return load_recipe("child.yaml", sets, tmp_path).resolved


@pytest.mark.parametrize("name", ["ppo", "rloo", "grpo"])
def test_a_reward_that_is_written_is_the_whole_reward(name: str, tmp_path: Path) -> None:
    mine = {"model": "run:judge", "weight": 1.0, "quantize": "none", "rules": []}
    parent, child = f"extends: {name}\n", "objective: {reward: {model: 'run:judge'}}\n"
    assert resolved(tmp_path, parent, child)["objective"]["reward"] == mine
    by_set = load_recipe(name, ["objective.reward={model: 'run:judge'}"], tmp_path).resolved
    assert by_set["objective"]["reward"] == mine
    one_entry = load_recipe(name, ["objective.reward.model=run:judge"], tmp_path).resolved
    assert one_entry["objective"]["reward"]["model"] == "run:judge"
    assert len(one_entry["objective"]["reward"]["rules"]) == 1
    assert resolved(tmp_path, parent, "objective: {max_new_tokens: 9}\n")["objective"]["reward"]["rules"]


def test_a_stage_paid_by_a_judge_is_paid_by_nothing_else(tmp_path: Path) -> None:
    ppo = "{name: ppo, extends: ppo, objective: {reward: {model: 'stage:judge'}}}"
    text = f"recipe: 1\nstages:\n  - {{name: judge, extends: reward}}\n  - {ppo}\n"
    (tmp_path / "chain.yaml").write_text(text)
    chain = load_chain("chain.yaml", (), tmp_path)
    assert chain is not None
    assert chain.stages[1].loaded.recipe.objective.options.reward.rules == ()


@pytest.mark.parametrize(
    ("parent", "child", "sets", "kept"),
    [
        # sections merge, in files and by --set
        ("extends: lora\ntrain: {seed: 5}\n", "train: {batch_size: 3}\n", [],
         {"train": {"seed": 5, "batch_size": 3, "learning_rate": 2e-4}}),
        ("extends: lora\n", "", ["train={batch_size: 3}"], {"train": {"batch_size": 3, "learning_rate": 2e-4}}),
        ("trainer_args: {adam_beta1: 0.8}\n", "trainer_args: {adam_beta2: 0.9}\n", [],
         {"trainer_args": {"adam_beta1": 0.8, "adam_beta2": 0.9}}),
        ("trainer_args: {adam_beta1: 0.8}\n", "", ["trainer_args={adam_beta2: 0.9}"],
         {"trainer_args": {"adam_beta2": 0.9}}),
        # a target is one choice
        ("check: {target: {path: a.jsonl, metric: rules, rules: [{rule: regex, value: x}], max_new_tokens: 4}}\n",
         "check: {target: {path: /b.jsonl}, at_end: false}\n", [],
         {"check": {"at_end": False, "target": {"path": "/b.jsonl", "metric": "nats_per_token", "rules": [],
                                                "max_new_tokens": None, "written": None}}}),
        ("check: {target: {path: /a.jsonl, max_new_tokens: 4}}\n", "", ["check.target.metric=token_f1"],
         {"check": {"target": {"path": "/a.jsonl", "metric": "token_f1", "max_new_tokens": 4, "rules": [],
                               "written": None}}}),
        # another method, objective or PEFT type drops the old one's options
        ("method: {name: lora, rank: 4}\n", "method: {name: full}\n", [], {"method": {"name": "full"}}),
        ("method: {name: lora, rank: 4}\n", "", ["method={name: full}"], {"method": {"name": "full"}}),
        ("method: {name: lora, rank: 4}\n", "method: {name: lora, alpha: 4}\n", [],
         {"method": {"rank": 4, "alpha": 4}}),
        ("extends: peft\n", "method: {type: miss}\n", [], {"method": {"type": "miss", "options": {}}}),
        ("extends: peft\n", "", ["method.type=miss"], {"method": {"type": "miss", "options": {}}}),
        ("extends: peft\n", "", ["method.options.r=2", "method.type=loha"],
         {"method": {"type": "loha", "options": {"r": 2}}}),
        ("extends: peft\n", "method: {type: lokr}\n", ["method.options.r=2"],
         {"method": {"type": "lokr", "options": {"r": 2, "alpha": 16}}}),
        # a revision belongs to its model
        ("model: {id: a/b, revision: old, dtype: float32}\n", "model: {id: c/d}\n", [],
         {"model": {"id": "c/d", "revision": None, "dtype": "float32"}}),
        ("model: {id: a/b, revision: old}\n", "model: {id: a/b}\n", [], {"model": {"revision": "old"}}),
        # a recipe's own epochs are not overridden by its parent's steps
        ("train: {max_steps: 30}\n", "train: {epochs: 3}\n", [], {"train": {"epochs": 3.0, "max_steps": None}}),
        ("train: {max_steps: 30}\n", "", ["train.epochs=3"], {"train": {"epochs": 3.0, "max_steps": None}}),
        ("train: {max_steps: 30}\n", "", ["train.max_steps=7", "train.epochs=3"],
         {"train": {"epochs": 3.0, "max_steps": 7}}),
        ("train: {epochs: 5}\n", "train: {max_steps: 7}\n", [], {"train": {"epochs": 5.0, "max_steps": 7}}),
        # alternatives drop each other
        ("extends: protected\n", "protect: {replay: {path: /r.jsonl}}\n", [],
         {"protect": {"replay": {"path": "/r.jsonl", "from_base": None, "share": 0.2}}}),
        ("data: {train: [{path: a.jsonl, rows: 3}]}\n", "", ["data.train[0].id=org/rows"],
         {"data": {"train": [{"id": "org/rows", "path": None, "rows": 3}]}}),
        # null and a bare value hold, whatever the parent has
        ("extends: protected\n", "protect: {replay: null}\n", [], {"protect": {"replay": {"from_base": None}}}),
        ("protect: {kl_to_base: {weight: 1, on: rows}}\n", "protect: {kl_to_base: 0}\n", [],
         {"protect": {"kl_to_base": {"weight": 0.0, "on": "general"}}}),
        ("protect: {kl_to_base: 1}\n", "protect: {kl_to_base: {on: rows}}\n", [],
         {"protect": {"kl_to_base": {"weight": 1.0, "on": "rows"}}}),
        ("alarms: {spike: false}\n", "alarms: {spike: true}\n", [], {"alarms": {"spike": {"on": True}}}),
    ],
)  # fmt: skip
def test_what_is_kept(tmp_path: Path, parent: str, child: str, sets: list[str], kept: dict) -> None:
    recipe = resolved(tmp_path, parent, child, *sets)

    def holds(wanted: object, actual: object) -> bool:
        if isinstance(wanted, dict) and isinstance(actual, dict):
            return all(holds(value, actual[key]) for key, value in wanted.items())
        if isinstance(wanted, list) and isinstance(actual, list):
            return len(wanted) == len(actual) and all(map(holds, wanted, actual))
        return wanted == actual

    assert holds(kept, recipe), {key: recipe[key] for key in kept}
