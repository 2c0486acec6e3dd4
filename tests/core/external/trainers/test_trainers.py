"""What a trainer's own configuration tells, and how a file that is none of its own is refused."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from metric_files import put

from finetop.core.commands.main import main
from finetop.core.errors import BadInput, FinetopError, NotFound
from finetop.core.external import sources, trainers
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.recipe.command import argv

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.external.trainers import Known

AXOLOTL = """\
base_model: example-org/small-1b   # of a hub
adapter: lora
datasets:
  - {path: rows.jsonl, type: chat_template}
  - {path: json, data_files: [more.jsonl, missing.jsonl], type: alpaca}
  - path: example-org/rows
output_dir: ./outputs/shop
"""
LLAMAFACTORY = """\
### model
model_name_or_path: ./small
stage: sft
finetuning_type: lora
dataset: shop, missing,odd
dataset_dir: sets
output_dir: saves/shop
learning_rate: 1.0e-4
"""
TRL = """\
model_name_or_path:
  example-org/small-1b
datasets:
  - {path: json, data_files: rows.jsonl}
learning_rate: 1e-4
"""
TORCHTUNE = """\
# First train the teacher:
#   tune run lora_teacher --config shop/teacher
# Then, on two GPUs:
#   tune run --nnodes 1 --nproc_per_node 2 dev/lora_student --config shop/student epochs=1
output_dir: /tmp/out
checkpointer:
  checkpoint_dir: ${where}/
  output_dir: ${output_dir}
where: /models/small
dataset: {_component_: torchtune.datasets.chat_dataset, source: json, data_files: rows.jsonl}
epochs: 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sets = {"shop": {"file_name": "shop.json"}, "odd": {"file_name": 1}}
    files = {
        "axolotl.yaml": AXOLOTL,
        "llamafactory.yml": LLAMAFACTORY,
        "trl.yaml": TRL,
        "student.yaml": TORCHTUNE,
    }
    rows = {"rows.jsonl": "{}", "more.jsonl": "{}", "sets/shop.json": "[]"}
    for name, text in {**files, **rows, "sets/dataset_info.json": json.dumps(sets)}.items():
        put(tmp_path / name, text)
    return tmp_path


# trainer | its file | how it is started | output | base | rows
TOLD = """\
axolotl | axolotl.yaml | axolotl train {} | ./outputs/shop | example-org/small-1b | rows.jsonl more.jsonl
llamafactory | llamafactory.yml | llamafactory-cli train {} | saves/shop | ./small | sets/shop.json
trl | trl.yaml | trl sft --config {} | trainer_output | example-org/small-1b | rows.jsonl
trl:dpo | trl.yaml | trl dpo --config {} | trainer_output | example-org/small-1b | rows.jsonl
torchtune | student.yaml | tune run --nnodes 1 --nproc_per_node 2 dev/lora_student --config {} \
| /tmp/out/epoch_1 | /models/small | rows.jsonl
torchtune:full_single | student.yaml | tune run full_single --config {} | /tmp/out/epoch_1 | /models/small | rows.jsonl
"""


@pytest.mark.parametrize("line", TOLD.splitlines())
def test_a_configuration_tells_how_it_is_started_its_output_base_and_rows(folder, line):
    trainer, file, words, *told = line.split(" | ")
    known = trainers.known(trainer, file, folder)
    assert " ".join(known.words) == words.format(folder / file)
    assert [known.output, known.base, " ".join(known.data)] == told


def started(folder: Path, known: Known, *, resumed: bool) -> list[str]:
    request = CommandRequest(
        known.words, folder, output=known.output, base=known.base, data=known.data, resume=known.resume
    )
    command = command_recipe(request).recipe.command
    assert command is not None
    return argv(command, resumed=resumed)


@pytest.mark.parametrize(
    ("trainer", "file", "output", "added"),
    [
        ("axolotl", "axolotl.yaml", "outputs/shop", "--resume-from-checkpoint {}"),
        (
            "llamafactory",
            "llamafactory.yml",
            "saves/shop",
            "resume_from_checkpoint={} overwrite_output_dir=false",
        ),
        ("trl", "trl.yaml", "trainer_output", "--resume_from_checkpoint {}"),
    ],
)
def test_it_goes_on_from_the_newest_whole_checkpoint_and_begins_again_before_the_first(
    folder, trainer, file, output, added
):
    known = trainers.known(trainer, file, folder)
    assert started(folder, known, resumed=True) == list(known.words)
    for step in ("5", "40", "100", "best"):
        (folder / output / f"checkpoint-{step}").mkdir(parents=True)
    for step in ("5", "40", "best"):  # the newest of all was cut while it was written
        (folder / output / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    newest = folder / output / "checkpoint-40"
    assert started(folder, known, resumed=True) == [*known.words, *added.format(newest).split()]
    assert started(folder, known, resumed=False) == list(known.words)


@pytest.mark.parametrize(
    ("name", "trainer", "why"),
    [
        ("trl.yaml", "axolotl", "trl.yaml has no base_model."),
        ("axolotl.yaml", "llamafactory", "axolotl.yaml has no model_name_or_path."),
        ("axolotl.yaml", "trl", "axolotl.yaml has no model_name_or_path."),
        ("axolotl.yaml", "torchtune", "axolotl.yaml does not say which recipe it is for."),
        ("axolotl.yaml", "axolotl:lora", "--with: this trainer has no kinds."),
        ("student.yaml", "torchtune:generate", "student.yaml is for generate, which trains nothing."),
        ("none.yaml", "axolotl", "none.yaml: cannot be read: no such file or directory."),
        (".", "axolotl", ".: cannot be read: "),
    ],
)
def test_what_is_no_configuration_of_a_trainer_is_refused(folder, name, trainer, why):
    with pytest.raises(BadInput) as caught:
        trainers.known(trainer, name, folder)
    assert caught.value.message.startswith(why)
    assert caught.value.hint


def test_torchtune_finds_its_newest_state_by_itself_and_a_copy_under_another_name_its_only_recipe(folder):
    known = trainers.known("torchtune", "student.yaml", folder)
    assert started(folder, known, resumed=True) == [*known.words, "resume_from_checkpoint=True"]
    (folder / "mine.yaml").write_text(TORCHTUNE)
    with pytest.raises(BadInput, match="which recipe"):
        trainers.known("torchtune", "mine.yaml", folder)
    one = TORCHTUNE.replace("#   tune run lora_teacher --config shop/teacher\n", "")
    (folder / "mine.yaml").write_text(one)
    assert "dev/lora_student" in trainers.known("torchtune", "mine.yaml", folder).words
    # settings that name each other end
    text = TORCHTUNE.replace("where: /models/small", "where: ${where}${where}" + "x" * 3000)
    (folder / "student.yaml").write_text(text)
    assert len(trainers.known("torchtune", "student.yaml", folder).base) <= 4096


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "aliases": (f"{AXOLOTL}{LAUGHS}", "hostile.yaml:8: anchors"),
    "merged aliases": (f"{AXOLOTL}a: &a {{x: 1}}\nb: {{<<: [*a, *a]}}", "hostile.yaml:8: anchors"),
    "tag": (f"{AXOLOTL}a: !!python/object/apply:os.system [id]", "hostile.yaml:8: the tag"),
    "value of a tag": (f"{AXOLOTL}a: !!timestamp x", "hostile.yaml:8: the tag"),
    "deep": (f"{AXOLOTL}a: {'[' * 50_000}", "nested deeper"),
    "huge": (f"{AXOLOTL}a: {'x' * (300 << 10)}", "larger than 256 KiB"),
    "list": ("- base_model", "not a mapping of settings"),
    "text": ("base_model", "not a mapping of settings"),
    "empty": ("", "is empty"),
    "set twice": (f"{AXOLOTL}base_model: b", "hostile.yaml:8: base_model is set twice"),
    "no text": ("\x00\x01", "is not allowed"),
    "escapes": ("base_model: \x1b[2J", "is not allowed"),
    "base is a list": ("base_model: [a]", "has no base_model"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_in_one_line(folder, name):
    text, why = HOSTILE[name]
    (folder / "hostile.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        trainers.known("axolotl", "hostile.yaml", folder)
    assert why in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_a_pipe_and_bytes_that_are_no_text_are_refused_at_once(folder):
    os.mkfifo(folder / "pipe.yaml")
    (folder / "bytes.yaml").write_bytes(b"base_model: \xff\xfe")
    for name in ("pipe.yaml", "bytes.yaml"):
        with pytest.raises(BadInput, match=name):
            trainers.known("axolotl", name, folder)


def test_a_list_of_data_sets_that_can_not_be_read_names_no_rows(folder):
    odd = '{"shop": {"file_name": ["a"]}}', '{"shop": "x"}', '{"shop": {"file_name": "\\u0000"}}'
    for info in ("[" * 100_000, "[]", *odd):
        (folder / "sets" / "dataset_info.json").write_text(info)
        assert trainers.known("llamafactory", "llamafactory.yml", folder).data == ()


def test_the_command_line_refuses_a_file_in_one_line_with_code_2(folder, capsys, monkeypatch):
    monkeypatch.setenv("FINETOP_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    assert main(["run", "--with", "axolotl", "trl.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "trl.yaml has no base_model." in line
    assert not (folder / "home").exists()


def test_an_unknown_trainer_is_refused_with_a_near_name(folder):
    with pytest.raises(NotFound) as caught:
        trainers.known("axolot", "axolotl.yaml", folder)
    assert "axolotl" in caught.value.hint
    for name in ("", "..", "../trl", "trl/x", "_x"):
        with pytest.raises(FinetopError):
            trainers.known(name, "axolotl.yaml", folder)


def test_the_command_methods_lists_every_trainer_and_source(capsys):
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert tuple(listed["trainers"]) == trainers.names()
    assert tuple(listed["metrics"]) == sources.names()
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name} " in shown for name in (*trainers.names(), *sources.names()))
