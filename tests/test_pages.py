"""Pages of docs that list what there is: they name all of it and nothing else, and what they show can be read."""

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
import yaml

from finetop.core import errors
from finetop.core.check.tasks.requests import build_task, requests_of
from finetop.core.check.tasks.suite import load_suite
from finetop.core.client.remote.hosts import usual_places
from finetop.core.commands import Command
from finetop.core.commands.main import load, verbs
from finetop.core.features.approaches import approaches
from finetop.core.features.export.gguf_writer import families
from finetop.core.features.lint import findings
from finetop.core.features.remedies import remedies
from finetop.core.features.select import selectors as select
from finetop.core.models.llama_cpp.quants import QUANTS
from finetop.core.plugins import REWARD_RULES
from finetop.core.recipe import answer_rules
from finetop.core.recipe.home_settings import Settings, load as load_settings
from finetop.core.recipe.load import load_recipe, resolve_text
from finetop.core.recipe.stages import load_chain
from finetop.core.runtime.environment import WANTED
from finetop.core.runtime.home import Home
from finetop.core.train import alarms, methods, objectives, protections, rewards
from finetop.core.train.rewards import RewardRule

TESTS = Path(__file__).parent
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (TESTS.parent / "docs").glob("*.md")}
MENTIONED = ["bf16", "f16"]  # again, beside others
ROW = r"^\| `([a-z-]+)` \|"
NAME = r"`([^`]+)`"
RULES, _, OF_REWARDS = PAGES["rules"].partition("Rewards have five rules more.")


def table(page: str, head: str) -> str:
    return PAGES[page].partition(head)[2].partition("\n\n")[0]


def section(page: str, heading: str) -> str:
    return PAGES[page].partition(f"## {heading}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> str:
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))


def blocks(page: str, kind: str = "yaml") -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGES[page], re.DOTALL)


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
        pytest.param(PAGES["alarms"], r"^## (\w+)\n", alarms.names(), id="alarms"),
        pytest.param(
            first_column(section("methods", "Which weights move")), NAME, methods.names(), id="methods"
        ),
        pytest.param(
            first_column(section("methods", "What they learn from")),
            NAME,
            objectives.names(),
            id="objectives",
        ),
        pytest.param(
            first_column(section("methods", "Against forgetting")),
            NAME,
            protections.names(),
            id="protections",
        ),
        pytest.param(first_column(RULES), NAME, [*answer_rules.RULES], id="rules of answers"),
        pytest.param(first_column(OF_REWARDS), NAME, REWARD_RULES.names(), id="rules of rewards"),
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


PASTED = [
    pytest.param(dedent(block), id=f"{file.stem}:{text[: found.start()].count(chr(10)) + 1}")
    for file in [TESTS.parent / "README.md", *sorted((TESTS.parent / "docs").glob("*.md"))]
    for text in [file.read_text(encoding="utf-8")]
    for found in re.finditer(r"^ *```ya?ml\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    for block in found.groups()
]


@pytest.mark.parametrize("block", PASTED)
def test_every_yaml_is_read_by_the_program_as_it_stands(block: str, tmp_path: Path) -> None:
    """Paste a block into the file that it is meant for: its first key says which."""
    match block.partition(":")[0]:
        case "recipe":
            file = tmp_path / "mine.yaml"
            file.write_text(block)
            read = load_chain(str(file), []) or load_recipe(str(file)).recipe
            assert read
        case "settings":
            (tmp_path / "settings.yaml").write_text(block)
            assert load_settings(Home(tmp_path)).settings == 1
        case "suite":
            (tmp_path / "mine.yaml").write_text(block)
            (tmp_path / "general.txt").write_text("text")
            (tmp_path / "tasks").mkdir()
            (tmp_path / "tasks" / "passages.yaml").write_text("task: passages")
            for name, row in {**SUITE_ROWS, "arc_easy.jsonl": {}}.items():
                (tmp_path / name).write_text("\n".join([json.dumps(row)] * 3))
            assert load_suite(tmp_path / "mine.yaml").tasks
        case _:
            (tmp_path / "hosts.yaml").write_text(block)
            assert usual_places(tmp_path / "hosts.yaml")


def test_there_are_yaml_blocks_of_each_kind() -> None:
    kinds = [block.values[0].partition(":")[0] for block in PASTED]
    assert {"recipe", "settings", "suite"} < set(kinds) and len(kinds) > 40


def test_every_alarm_has_its_section_with_all_its_settings() -> None:
    for name in alarms.names():
        options = {field.name for field in msgspec.structs.fields(alarms.load(name).options)} - {"on"}
        text = section("alarms", name)
        assert options <= set(re.findall(r"`(\w+)`", text)), name
        assert "**Over**" in text and "**Try**" in text


def test_what_the_page_of_the_alarms_shows_can_be_read() -> None:
    of_recipe, _ = sorted(blocks("alarms"))
    recipe = resolve_text(of_recipe).recipe
    assert (recipe.alarms.spike.rise, recipe.alarms.plateau.on) == (1.0, False)
    fields = re.findall(r"`((?:train|model|method|data|drift)\.\w+)`", PAGES["alarms"])
    assert fields
    plain = msgspec.to_builtins(resolve_text("recipe: 1\nextends: lora\nname: x\n").recipe)
    for key, field in (name.split(".") for name in fields):
        assert field in plain[key] or field in plain[key]["options"], (key, field)


def test_the_readme_counts_methods_objectives_and_protections() -> None:
    counted = re.search(
        r"(\d+) ways to move weights.*?(\d+) objectives.*?(\d+) protections",
        (TESTS.parent / "README.md").read_text(),
        re.DOTALL,
    )
    assert counted
    there = (methods.names(), objectives.names(), protections.names())
    assert [int(count) for count in counted.groups()] == [len(names) for names in there]
    assert set(REWARD_RULES.names()) <= set(re.findall(r"`(\w+)`", PAGES["methods"]))


def test_the_types_of_peft_are_those_that_can_be_trained() -> None:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from finetop.core.train.methods import peft

    types = PAGES["methods"].partition("### Other types of PEFT\n")[2].partition("The types of")[2]
    there = {str(kind.value) for kind in PEFT_TYPE_TO_CONFIG_MAPPING} - set(peft.UNFIT) - set(peft.OURS)
    listed = set(re.findall(r"`([\w-]+)`", types.partition("`options` are")[0]))
    assert listed == {kind.lower().replace("_", "-") for kind in there}


def test_each_rule_can_be_written_as_the_page_has_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| .+ \|$", PAGES["rules"], re.MULTILINE)
    assert (len(rows), len(REWARD_RULES.names())) == (len(rewards.names()), 5)
    for name, written in rows:
        rule = yaml.safe_load(written)
        assert rule["rule"] == name
        assert answer_rules.fits(rule.get("value"), rewards.load(name).takes), name


def score(name: str, text: str, value: Any = None, answer: str | None = None) -> float:
    return rewards.load(name).score(text, value, answer)


def test_what_the_page_says_of_some_rules_is_so() -> None:
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


SUITE_ROWS = {
    "products.jsonl": {"question": "Which is red?", "choices": ["a plum", "a rose", "a fir"], "answer": "B"},
    "grammar.jsonl": {"good": "They are here.", "bad": "They is here."},
    "facts.jsonl": {"prompt": "The capital of France is", "answer": ["Paris", "the city of Paris"]},
    "shots.jsonl": {"prompt": "The capital of Italy is", "answer": "Rome"},
    "orders.jsonl": {"prompt": "Say no.", "rules": [{"rule": "max_words", "value": 5}]},
}


def test_every_suite_can_be_read_and_its_plain_rows_are_tasks(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(blocks("suites")) == 2
    for name, row in SUITE_ROWS.items():
        (tmp_path / name).write_text("\n".join([json.dumps(row)] * 3))
    (tmp_path / "general.txt").write_text("text")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "passages.yaml").write_text("task: passages")
    for number, block in enumerate(blocks("suites")):
        file = tmp_path / f"suite{number}.yaml"
        file.write_text(block)
        suite = load_suite(file)
        for task, place in zip(suite.tasks, suite.places, strict=True):
            if task.data is not None:
                built = build_task(task, place)
                items = [document.item for document in built.documents]
                assert len(requests_of(built, items, tokenizer)) == 3


def test_what_extends_finetop_has_its_folder_and_the_example_is_a_plugin() -> None:
    folders = re.findall(r"^\| [^|]* \| `([\w/]+)`", PAGES["extending"], re.MULTILINE)
    assert len(folders) > 10
    assert [folder for folder in folders if not (TESTS.parent / folder).is_dir()] == []
    (code,) = blocks("extending", "python")
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
    text = section("files", "settings.yaml")
    named = set(re.findall(r"`(\w+)`", text)) | set(re.findall(r"^(\w+):", text, re.MULTILINE))
    assert {field.name for field in msgspec.structs.fields(Settings)} <= named
    assert set(WANTED) <= set(re.findall(r"`(\w+)`", page.partition("## Variables")[2]))
