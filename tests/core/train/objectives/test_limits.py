"""What an objective can't do is refused from the recipe, before anything is loaded."""

import json

import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.load import resolve_text

REGEX = {"reward": {"rules": [{"rule": "regex", "value": "^ ?[a-m]"}]}}
PPO = {"objective": {"name": "ppo", **REGEX}}
NO_SUITE = {"check": {"general": None}}
PRETRAIN = {"objective": {"name": "pretrain"}, "method": {"name": "full"}, **NO_SUITE}
REWARD = {"objective": {"name": "reward"}, **NO_SUITE}


@pytest.mark.parametrize(("sections", "says"), [
    ({"objective": {"name": "kto"}, "train": {"batch_size": 1}}, "train.batch_size is 1; kto compares answers"),
    ({"objective": {"name": "dpo", "loss_weights": [1, 2]}},
     "objective.loss_weights: 2 weights for 1 losses."),
    ({"objective": {"name": "dpo", "loss": "exo_pair"}}, "exo_pair is not defined without label_smoothing"),
    ({"objective": {"name": "distill"}}, "objective.teacher: no teacher is named."),
    ({**PRETRAIN, "method": {"name": "lora"}},
     "method.name: pretrain trains all weights from scratch, but lora trains only some. Set method.name"),
    ({**PRETRAIN, "objective": {"name": "pretrain", "heads": 5}},
     "objective.heads: 5 heads do not divide hidden_size 192."),
    ({**PRETRAIN, "check": {"general": {"suite": "quick"}}},
     "check.general: pretrain produces no model to compare with its base."),
    ({**REWARD, "check": {}}, "check.general: reward produces no model to compare with its base"),
    ({**REWARD, "check": {"general": None, "target": {"path": "x.jsonl"}}},
     "check.target: a reward model generates no"),
    ({**REWARD, "method": {"name": "prompt-tuning"}}, "method.name: prompt-tuning can't make a reward model"),
    ({"objective": {"name": "ppo"}}, "objective.reward: nothing defines the reward"),
    ({**PPO, "method": {"name": "p-tuning"}}, "method.name: p-tuning does not work with ppo"),
    ({**PPO, "method": {"name": "lora", "dropout": 0.1}}, "method.dropout: ppo compares"),
    ({"objective": {"name": "grpo", "generations": 8, **REGEX},
      "train": {"batch_size": 4, "grad_accumulation": 3}},
     "8 answers to a prompt do not divide the 12 rows of a step .* set train.grad_accumulation to 2."),
    ({"objective": {"name": "rloo", "generations": 3, **REGEX},
      "train": {"batch_size": 2, "grad_accumulation": 1}},
     "3 answers to a prompt do not divide the 2 rows of a step .* set train.grad_accumulation to 3."),
    ({"objective": {"name": "grpo", "reward": {"rules": [{"rule": "numbr_match"}]}}},
     r"objective.reward.rules\[0\].rule: there is no rule 'numbr_match'.*number_match"),
])  # fmt: skip
def test_what_can_not_be_is_refused(sections, says):
    with pytest.raises(RecipeError, match=says):
        resolve_text(json.dumps({"recipe": 1, "name": "x", **sections}))
