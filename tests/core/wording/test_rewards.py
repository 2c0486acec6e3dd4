"""Rewards in words: every reward of a recipe, with its weight."""

from finetop.core.recipe.load import load_recipe
from finetop.core.wording.rewards import reward_words


def test_every_reward_is_named_with_its_weight():
    both = load_recipe("ppo", ["objective.reward.model=run:judge", "objective.reward.weight=2"]).resolved
    assert reward_words(both["objective"]) == "model run:judge, weight 2; length [20, 60], weight 1"
    assert reward_words(load_recipe("grpo").resolved["objective"]) == "number_match, weight 1"
    assert reward_words(load_recipe("lora").resolved["objective"]) == ""
    assert reward_words({}) == ""
