"""Rules as rewards: what each one gives, found by name, and refused with a message if it can't work."""

import subprocess
import sys

import pytest

from finetop.core.errors import NotFound
from finetop.core.train import rewards
from finetop.core.train.rewards import Reward, Rule

PAID = [
    ("exact_match", None, " Forty-two. ", "forty-two", 1.0),
    ("exact_match", None, "It is forty-two", "forty-two", 0.0),
    ("has_answer", None, "I think it is Paris, of course.", "paris", 1.0),
    ("has_answer", None, "Parisian", "Paris", 0.0),
    ("number_match", None, "3 and 4 make 1,007.", "so #### 1007", 1.0),
    ("number_match", None, "1007 and 4", "1007", 0.0),
    ("number_match", None, "none", "none", 0.0),
    ("json_valid", None, '[1, {"a": null}]', None, 1.0),
    ("json_valid", None, "{a: 1}", None, 0.0),
    ("json_valid", None, "[" * 100_000, None, 0.0),
    ("json_valid", None, "[" * 10_000, None, 0.0),
    ("length", [2, 4], "one two three", None, 1.0),
    ("length", [2, 4], "one", None, 0.5),
    ("length", [2, 4], "1 2 3 4 5 6 7 8", None, 0.5),
    ("length", [0, 0], "", None, 1.0),
    ("regex", "^ab+$", "abb", None, 1.0),
    ("contains", "river", "a riverbank", None, 0.0),
    ("max_words", 2, "one two three", None, 0.0),
]


@pytest.mark.parametrize(("name", "value", "text", "answer", "paid"), PAID)
def test_a_rule_pays(name, value, text, answer, paid):
    assert rewards.load(name).score(text, value, answer) == paid


def test_rules_are_the_files_and_those_of_suites():
    names = rewards.names()
    assert {"exact_match", "number_match", "json_valid", "length", "has_answer"} <= set(names)
    assert {"regex", "json_object"} <= set(names)
    assert all(rewards.load(name).takes for name in names)
    assert rewards.load("exact-match").name == "exact_match"
    assert rewards.load("exact_match").needs_answer and not rewards.load("regex").needs_answer
    with pytest.raises(NotFound, match=r"there is no rule 'exact_mach'.*exact_match"):
        rewards.load("exact_mach")


@pytest.mark.parametrize(("reward", "key", "said"), [
    (Reward(), "objective.reward", "nothing defines the reward"),
    (Reward(rules=(Rule(rule="lenght"),)), "objective.reward.rules[0].rule", "there is no rule 'lenght'"),
    (Reward(rules=(Rule(rule="length", value=[9, 2]),)), "objective.reward.rules[0].value", "is '[9, 2]'"),
    (Reward(rules=(Rule(rule="regex"),)), "objective.reward.rules[0].value", "is missing"),
    (Reward(rules=(Rule(rule="regex", value="("),)), "objective.reward.rules[0].value", "is '('"),
    (Reward(rules=(Rule(rule="json_valid", weight=0.0),)), "objective.reward.rules[0].weight", "is 0"),
    (Reward(model="./x", weight=0.0), "objective.reward.weight", "is 0"),
])  # fmt: skip
def test_rewards_that_cannot_be_are_refused(reward, key, said):
    ((found_key, message, hint),) = rewards.problems(reward)
    assert found_key == key and message.startswith(key) and said in message and hint


def test_looking_at_rules_imports_nothing_heavy():
    code = (
        "import sys; from finetop.core.train import rewards; [rewards.load(n) for n in rewards.names()];"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
