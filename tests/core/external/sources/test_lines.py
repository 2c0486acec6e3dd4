"""JSON lines: LLaMA-Factory's log, finetop.log's, and those of scripts; cut, damaged."""

import math
from pathlib import Path

import pytest
from metric_files import found, json_lines, opened, put, read

from finetop.core.external.sources import Reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trainer_log.jsonl"


def reader_of(path: Path, *rows: object) -> Reader:
    return opened("lines", put(path, json_lines(*rows)))


def test_llama_factorys_log(path):
    times = {"elapsed_time": "0:00:05", "remaining_time": "0:01:00", "percentage": 5.0}
    at = {"current_steps": 5, "total_steps": 100, "epoch": 0.1}
    reader = reader_of(path, {**at, "loss": 1.5, "lr": 1e-5, **times}, {**at, **times})
    assert read(reader) == [(5, {"loss": 1.5, "lr": 1e-5, "epoch": 0.1}), (5, {"epoch": 0.1})]
    assert reader.total == 100
    assert found("lines", path.parent) == [path]


def test_values_of_every_kind_and_times_of_the_program(path):
    line = '{"step": 1, "loss": NaN, "up": Infinity, "text": "3", "flag": true, "none": null, "deep": {"a": {"b": 2}}}'
    large = f'{{"step": 2, "a": 1{"0" * 400}}}'
    ((step, values), (_, second)) = read(reader_of(path, line, large))
    assert step == 1
    assert math.isnan(values.pop("loss"))
    assert values == {"up": math.inf, "deep/a/b": 2.0}
    assert second == {"a": math.inf}
    at = ({"time": 1.8e9}, {"time": 3.5}, {})
    points = reader_of(path, *({"step": 1, "a": 1, **time} for time in at)).read()
    assert [point.at for point in points] == [1.8e9, 0.0, 0.0]


def test_lines_without_a_step_count_if_they_have_a_loss_and_anew_in_a_file_that_is_cut(path):
    reader = reader_of(path, {"seed": 3}, {"loss": 2.0}, {"prompt": "a", "score": 1}, {"loss": 1.0})
    assert read(reader) == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    put(path, json_lines({"loss": 1.0}))
    assert read(reader) == [(1, {"loss": 1.0})]


NOTHING = (
    "",
    "{",
    "3",
    "[1]",
    "null",
    "[" * 99999,
    '{"step": 1}',
    '{"step": 1, "x": "y"}',
    '{"step": "1", "a": "2"}',
)


@pytest.mark.parametrize("line", NOTHING, ids=range(len(NOTHING)))
def test_lines_that_log_nothing(path, line):
    assert read(reader_of(path, line, {"step": 9, "a": 1})) == [(9, {"a": 1.0})]
