"""JSON lines: LLaMA-Factory's log, finetop.log's, and those of scripts; cut, replaced, damaged."""

import json
import math
from pathlib import Path

import pytest
from metric_files import opened, read

from finetop.core.external.sources import Places, load


def written(tmp_path: Path, *lines: object, name: str = "metrics.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_llama_factorys_log(tmp_path: Path) -> None:
    times = {"elapsed_time": "0:00:05", "remaining_time": "0:01:00", "percentage": 5.0}
    steps = {"current_steps": 5, "total_steps": 100, "epoch": 0.1}
    path = written(
        tmp_path, {**steps, "loss": 1.5, "lr": 1e-5, **times}, {**steps, **times}, name="trainer_log.jsonl"
    )
    reader = opened("lines", path)
    assert read(reader) == [(5, {"loss": 1.5, "lr": 1e-5, "epoch": 0.1}), (5, {"epoch": 0.1})]
    assert reader.total == 100
    assert list(load("lines").find(Places((tmp_path,)))) == [path]


def test_values_of_every_kind(tmp_path: Path) -> None:
    line = '{"step": 1, "loss": NaN, "up": Infinity, "text": "3", "flag": true, "none": null, "deep": {"a": {"b": 2}}}'
    ((step, values),) = read(opened("lines", written(tmp_path, line)))
    assert step == 1
    assert math.isnan(values.pop("loss"))
    assert values == {"up": math.inf, "deep/a/b": 2.0}


def test_times_of_the_program(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"step": 1, "a": 1, "time": 1.8e9}, {"step": 2, "a": 1, "time": 3.5}, {"step": 3, "a": 1}
    )
    assert [point.at for point in opened("lines", path).read()] == [1.8e9, 0.0, 0.0]


def test_lines_without_a_step_count_if_they_have_a_loss(tmp_path: Path) -> None:
    path = written(tmp_path, {"seed": 3}, {"loss": 2.0}, {"prompt": "a", "score": 1}, {"loss": 1.0})
    assert read(opened("lines", path)) == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]


def test_a_file_that_is_cut_counts_anew(tmp_path: Path) -> None:
    reader = opened("lines", written(tmp_path, {"loss": 2.0}, {"loss": 1.5}))
    read(reader)
    written(tmp_path, {"loss": 1.0})
    assert read(reader) == [(1, {"loss": 1.0})]


def test_a_file_that_is_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    reader = opened("lines", written(tmp_path, {"step": 1, "a": 1}))
    read(reader)
    written(tmp_path, {"step": 1, "a": 1}, {"step": 2, "a": 2}, name="new").replace(reader.path)
    assert [step for step, _ in read(reader)] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "3",
        "[1]",
        "null",
        "[" * 99999,
        '{"step": 1}',
        '{"step": 1, "x": "y"}',
        '{"step": "1", "a": "2"}',
    ],
)
def test_lines_that_log_nothing(tmp_path: Path, line: str) -> None:
    assert read(opened("lines", written(tmp_path, line, {"step": 9, "a": 1}))) == [(9, {"a": 1.0})]


def test_a_number_that_is_too_large(tmp_path: Path) -> None:
    assert read(opened("lines", written(tmp_path, f'{{"step": 1, "a": 1{"0" * 400}}}'))) == [
        (1, {"a": math.inf})
    ]
