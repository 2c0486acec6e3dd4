"""A program's own configuration: what becomes a setting, whatever a file holds, and whose it is."""

import json
from pathlib import Path

import msgspec
import pytest
from metric_files import Program, history, json_lines, leveldb, message, opened, process, put, read

from finetop.core.external.configuration import settings_of
from finetop.core.protocol import events
from finetop.core.protocol.numbers_from import LONGEST_SETTING, MOST_SETTINGS, NumbersFrom
from finetop.core.protocol.run_filter import is_setting

pytestmark = pytest.mark.usefixtures("at_once")


def told(program: Program) -> NumbersFrom:
    return [event for event in program.seen if isinstance(event, NumbersFrom)][-1]


def config_items(**values: object) -> bytes:
    items = ((1, message((1, name), (16, json.dumps(value)))) for name, value in values.items())
    return message(*items)


def test_values_become_numbers_and_words_by_dotted_names():
    config = {
        "lr": 1e-4,
        "lora": {"r": 8, "targets": ["q", "v"], "layers": [1, 2.5, False]},
        "bf16": True,
        "_wandb": {"cli": 1},
    }
    config |= {"model/name": "a\nb\x1b[31m", "empty": "", "none": None, "seed": 3, "nan": float("nan")}
    assert settings_of(config) == {
        "lr": 1e-4, "lora.r": 8.0, "lora.targets": "q, v", "lora.layers": "1, 2.5, false", "bf16": "true",
        "model_name": "a b", "seed": 3.0, "nan": "nan",
    }  # fmt: skip


def test_whatever_is_in_a_file_settings_are_few_and_can_be_stored():
    deep: dict[str, object] = {"x": 1}
    for _ in range(200):
        deep = {"a": deep}
    hostile = {"deep": deep, "big": 10**400, "x" * 5000: "y" * 5000, "\ud800": "\udcff", "é.": [["a"]] * 9}
    hostile |= {f"key {number}": number for number in range(100_000)}
    settings = settings_of(hostile)
    assert len(settings) == MOST_SETTINGS
    assert all(is_setting(f"config.{name}") for name in settings)
    assert max(len(str(value)) for value in settings.values()) <= LONGEST_SETTING
    line = msgspec.json.encode({"n": 1, "t": 1.0, "e": NumbersFrom([], [], settings)})
    assert events.decode(line).e == NumbersFrom([], [], settings)


def test_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "a-value-of-the-shell")
    config = {
        "api_key": "x1y2",
        "hub_token": "<HUB_TOKEN>",
        "note": "hf_" + "aB3" * 12,
        "say": "a-value-of-the-shell",
    }
    assert settings_of(config) == {"api_key": "…", "hub_token": "<HUB_TOKEN>", "note": "…", "say": "…"}


def test_a_scripts_file_is_read_when_it_is_whole_and_again_when_it_changes(tmp_path):
    path = put(tmp_path / "config.json", '{"lr": 1')
    reader = opened("config", path)
    assert (read(reader), reader.config) == ([], {})
    put(path, '{"lr": 1}')
    assert (read(reader), reader.config) == ([], {"lr": 1.0})
    put(path, '{"lr": 0.5}')
    assert (read(reader), reader.config) == ([], {"lr": 0.5})


@pytest.mark.parametrize(
    "content",
    ['{"model_type": "llama", "hidden_size": 8}', "[1]", "[" * 100_000, '{"a": "' + "x" * (1 << 20) + '"}'],
    ids=["a model's own", "a list", "deep", "large"],
)
def test_what_is_no_scripts_configuration_has_no_settings(tmp_path, content):
    reader = opened("config", put(tmp_path / "config.json", content))
    assert (read(reader), reader.config) == ([], {})


def test_wandbs_file_has_the_configuration_of_the_run_and_what_was_changed_later(tmp_path):
    first = message(
        (17, message((1, "abc"), (4, config_items(lr=1e-4, optim={"name": "adam"}, _wandb={"v": 1}))))
    )
    path = put(tmp_path / "wandb/run-1-a/run-a.wandb", leveldb(first, history(1, loss=1.0)))
    reader = opened("wandb", path)
    assert read(reader) == [(1, {"loss": 1.0})]
    assert reader.config == {"lr": 1e-4, "optim.name": "adam"}
    put(path, leveldb(first, history(1, loss=1.0), message((5, config_items(lr=2e-4)))))
    assert read(reader) == []
    assert reader.config == {"lr": 2e-4, "optim.name": "adam"}
    damaged = message((5, message((1, message((1, "lr"), (16, "{"))))), (17, 3))
    assert opened("wandb", put(path, leveldb(damaged))).read() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_the_configuration_is_told_with_its_file_and_survives_a_kill(folder):
    with process(folder) as own:
        program = Program(folder, root=own.pid)
        program.append("config.json", json.dumps({"lr": 1e-4, "seed": 3}))
        program.append("wandb/run-1-a/run-a.wandb", leveldb(message((5, config_items(lr=2e-4)))))
        program.append("metrics.jsonl", json_lines({"step": 1, "loss": 1.0})).look().look()
        assert told(program).settings == {"lr": 2e-4, "seed": 3.0}
        files = {file.source: (file.file, file.settings) for file in told(program).read}
        assert files["config"] == ("config.json", 2)
        later = Program(folder, root=own.pid)
        later.numbers.go_on(msgspec.msgpack.decode(msgspec.msgpack.encode(program.numbers.state())))
        assert not any(isinstance(event, NumbersFrom) for event in later.look(is_last=True).seen)
        later.append("metrics.jsonl", json_lines({"step": 2, "other": 1.0})).look(is_last=True)
        assert told(later).settings == told(program).settings


def test_the_configuration_of_another_program_is_left_out_and_taken_back(folder):
    with process(folder) as own:
        program = Program(folder, root=own.pid)
        file = program.append("config.json", json.dumps({"lr": 9.0})).look().folder / "config.json"
        assert told(program).settings == {"lr": 9.0}
        with process(folder, file):
            program.look()
            assert told(program).settings == {}
            assert "writes it" in program.left_out()["config.json"]
