"""docs/rules.md: its tables list exactly the rules there are, each as it can be written."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetop.core.plugins import REWARD_RULES
from finetop.core.recipe import answer_rules
from finetop.core.recipe.load import resolve_text
from finetop.core.train import rewards

PAGE = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| .+ \|$", PAGE, re.MULTILINE)


def rules_of(table: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_the_tables_list_exactly_the_rules_there_are() -> None:
    everywhere, _, of_rewards = PAGE.partition("Rewards have five rules more.")
    assert rules_of(everywhere) == set(answer_rules.RULES)
    assert rules_of(of_rewards) == set(REWARD_RULES.names())
    assert len(REWARD_RULES.names()) == 5
    assert len(ROWS) == len(rewards.names())


@pytest.mark.parametrize(("name", "written"), ROWS)
def test_a_rule_can_be_written_as_the_page_has_it(name: str, written: str) -> None:
    rule = yaml.safe_load(written)
    assert rule["rule"] == name
    assert answer_rules.fits(rule.get("value"), rewards.load(name).takes)


def score(name: str, text: str, value: Any = None, answer: str | None = None) -> float:
    return rewards.load(name).score(text, value, answer)


def test_what_the_page_says_of_some_of_them_is_so() -> None:
    assert score("length", "a " * 10, [20, 60]) == score("length", "a " * 120, [20, 60]) == 0.5
    assert score("json_object", '{"a": 1}', []) and not score("json_object", "[1]", [])
    assert score("json_valid", "[1]") and score("json_valid", '"a"') and score("json_valid", "1")
    for fenced in ('```json\n{"a": 1}\n```', 'Here: {"a": 1}'):
        assert not score("json_valid", fenced) and not score("json_object", fenced, [])
    assert not score("json_object", '{"Name": 1}', ["name"])
    assert score("list_items", "a, b and c", 3) and score("list_items", "a; b or c", 3)
    assert not score("not_contains", "...", "sorry")
    assert score("number_match", "5 and 6 make 11", None, "The sum is 11.")
    assert score("starts_with", '"Dear you', "dear") and score("ends_with", "Kind regards.", "regards")


@pytest.mark.parametrize("written", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_recipe_can_be_read(written: str) -> None:
    assert resolve_text(written).recipe.data.train
