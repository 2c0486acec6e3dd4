"""docs/methods.md: it names all that there is and nothing else, and every recipe that it shows can be read."""

import re
from pathlib import Path

import pytest

from finetop.core.plugins import REWARD_RULES
from finetop.core.recipe.load import resolve_text
from finetop.core.train import methods, objectives, protections

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def first_column(heading: str) -> set[str]:
    """Names in the first column of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_it_names_all_that_there_is() -> None:
    assert first_column("Which weights move") == set(methods.names())
    assert first_column("What they learn from") == set(objectives.names())
    assert first_column("Against forgetting") == set(protections.names())
    assert set(REWARD_RULES.names()) <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_readme_counts_them() -> None:
    counted = re.search(
        r"(\d+) ways to move weights.*?(\d+) objectives.*?(\d+) protections",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    assert counted
    there = (methods.names(), objectives.names(), protections.names())
    assert [int(count) for count in counted.groups()] == [len(names) for names in there]


@pytest.mark.parametrize("written", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_recipe_can_be_read(written: str) -> None:
    assert resolve_text(written).recipe.data.train


def test_the_types_of_peft_are_those_that_can_be_trained() -> None:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from finetop.core.train.methods import peft

    listed = (
        PAGE.partition("### Other types of PEFT\n")[2]
        .partition("`options` are")[0]
        .partition("The types of")[2]
    )
    there = {str(kind.value) for kind in PEFT_TYPE_TO_CONFIG_MAPPING} - set(peft.UNFIT) - set(peft.OURS)
    assert set(re.findall(r"`([\w-]+)`", listed)) == {kind.lower().replace("_", "-") for kind in there}
