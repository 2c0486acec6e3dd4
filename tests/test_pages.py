"""Pages of docs that list what there is: they name all of it and nothing else, and what they show can be read."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetop.core import approaches, errors, remedies, select
from finetop.core.commands import Command
from finetop.core.commands.main import load, verbs
from finetop.core.lint import findings
from finetop.core.models.gguf import families
from finetop.core.models.llama_cpp.quants import QUANTS
from finetop.core.recipe.home_settings import Settings
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.environment import WANTED
from finetop.core.train.rewards import RewardRule

TESTS = Path(__file__).parent
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (TESTS.parent / "docs").glob("*.md")}
MENTIONED = ["bf16", "f16"]  # again, beside others
ROW = r"^\| `([a-z-]+)` \|"


def table(page: str, head: str) -> str:
    return PAGES[page].partition(head)[2].partition("\n\n")[0]


@pytest.mark.parametrize(
    ("text", "pattern", "names"),
    [
        pytest.param(
            table("approaches", "| approach | what is done |"), ROW, approaches.names(), id="approaches"
        ),
        pytest.param(table("select", "| selector |"), ROW, select.names(), id="selectors"),
        pytest.param(PAGES["data"], r"^### .* \(`([a-z-]+)`\)$", findings.names(), id="findings of lint"),
        pytest.param(
            table("gguf", "| family |"), r"^\| `(\w+)` \|", families.KIND.names(), id="families of GGUF"
        ),
        pytest.param(
            table("gguf", "| format | what"),
            r"`([a-z]+\d\w*)`",
            [*QUANTS, *MENTIONED],
            id="formats",
        ),
        pytest.param(PAGES["commands"], r"^\| [a-z ]*\| `finetop ([a-z]+)", verbs(), id="commands"),
    ],
)
def test_each_has_its_row_or_section_and_nothing_else_has(text: str, pattern: str, names: list[str]) -> None:
    assert sorted(re.findall(pattern, text, re.MULTILINE)) == sorted(names)


def test_every_fault_is_named() -> None:
    there = {file.name for file in (TESTS / "faults").glob("test_*.py")}
    assert set(re.findall(r"`(test_\w+\.py)`", PAGES["faults"])) == there


def test_every_remedy_is_named_with_how_many_candidates_it_has_at_most() -> None:
    tried = re.findall(r"^\| `([a-z-]+)` \|.*?\| (\d+) \|", PAGES["remedies"], re.MULTILINE)
    trained = re.findall(r"^\| `([a-z-]+)` \| [^|]* \|$", PAGES["remedies"], re.MULTILINE)
    there = {name: remedies.load(name) for name in remedies.names()}
    retrainings = {name for name, remedy in there.items() if isinstance(remedy, remedies.Retraining)}
    assert {name: int(most) for name, most in tried} == {
        name: remedy.most for name, remedy in there.items() if name not in retrainings
    }
    assert set(trained) == retrainings


def test_the_commands_that_can_not_go_elsewhere_are_named() -> None:
    here = re.search(r"These work where they are started: (.*?)\. ", PAGES["remote"], re.DOTALL)
    several = re.search(r"\. ([^.]*?) take several machines", PAGES["remote"], re.DOTALL)
    commands = {verb: load(verb) for verb in verbs()}
    assert all(isinstance(command, Command) for command in commands.values())
    assert here and several
    named, together = (set(re.findall(r"`(\w+)`", found[1])) for found in (here, several))
    assert named == {verb for verb, command in commands.items() if not command.is_remote}
    assert together == {verb for verb, command in commands.items() if command.run_several}


def test_the_recipe_of_the_approaches_can_be_read() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["approaches"], re.DOTALL)
    assert resolve_text(block).recipe.approaches.update is not None


def test_what_extends_finetop_has_its_folder_and_the_example_is_a_plugin() -> None:
    folders = re.findall(r"^\| [^|]* \| `([\w/]+)`", PAGES["extending"], re.MULTILINE)
    assert len(folders) > 10
    assert [folder for folder in folders if not (TESTS.parent / folder).is_dir()] == []
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["extending"], re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    polite = made["PLUGIN"]
    assert isinstance(polite, RewardRule) and polite.takes == "nothing" and not polite.needs_answer
    assert polite.score("Please sit.", None, None) == 1


def test_exit_codes_sections_of_the_settings_and_refused_variables_are_in_files() -> None:
    page = PAGES["files"]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    rows = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert [int(row) for row in rows] == sorted({0, *(kind.exit_code for kind in kinds)})
    section = page.partition("## settings.yaml")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section)) | set(re.findall(r"^(\w+):", section, re.MULTILINE))
    assert {field.name for field in msgspec.structs.fields(Settings)} <= named
    assert set(WANTED) <= set(re.findall(r"`(\w+)`", page.partition("## Variables")[2]))
