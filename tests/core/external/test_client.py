"""`finetop.log` and `FinetopCallback`: lines that a run's job reads, and no error of theirs ends a training."""

import math
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from metric_files import opened, read, steps

from finetop.core.external import client
from finetop.core.external.sources import Reader


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(client, "_files", {})
    monkeypatch.setenv(client.HOME, str(tmp_path))
    monkeypatch.delenv(client.METRICS, raising=False)
    monkeypatch.delenv(client.RANK, raising=False)
    yield
    for file in client._files.values():
        if file.descriptor is not None:
            os.close(file.descriptor)


def logged(tmp_path: Path, run: str = "run") -> Reader:
    return opened("lines", tmp_path / "logged" / run / "metrics.jsonl")


def test_each_call_is_a_line(tmp_path):
    client.log("run", 1, loss=0.1, **{'a"b/c': 1e300})
    client.log("run", step=2, loss=1)
    points = logged(tmp_path).read()
    assert [point[:2] for point in points] == [(1, {"loss": 0.1, 'a"b/c': 1e300}), (2, {"loss": 1.0})]
    assert points[0].at > 1.7e9


def test_values_of_other_libraries_and_what_json_can_not_hold(tmp_path):
    import numpy as np

    values: dict[str, Any] = {"a": np.float32(0.5), "b": None, "c": "x", "d": [1, 2], "e": 10**400, "f": True}
    client.log("run", np.int64(3), **values)
    client.log("run", 4, **{"\ud800x": 1.0, "big": 2**70})
    client.log("run", 2**70, a=1)
    client.log("run", 5, a=10**400, b=1)
    known = [point for point in read(logged(tmp_path)) if point[0] < 10]
    assert known == [(3, {"a": 0.5, "f": 1.0}), (4, {"?x": 1.0, "big": 2.0**70}), (5, {"b": 1.0})]
    client.log("odd", 1, loss=math.nan, up=math.inf, down=-math.inf)
    ((_, values),) = read(logged(tmp_path, "odd"))
    assert repr(values) == "{'loss': nan, 'up': inf, 'down': -inf}"


def test_each_rank_of_a_fork_decides_anew(tmp_path, monkeypatch):
    """As processes that a trainer forks: rank 1 inherits the open file of rank 0, and must not write to it."""
    client.log("run", 1, a=1)
    for rank in ("1", "0"):
        monkeypatch.setenv(client.RANK, rank)
        child = os.fork()
        if not child:
            client.log("run", 10 + int(rank), a=1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    client.log("run", 2, a=1)
    assert steps(logged(tmp_path)) == [1, 10, 2]


def test_threads_write_whole_lines_from_the_first_on(tmp_path):
    at_once = threading.Barrier(8)

    def write(number: int) -> None:
        at_once.wait()
        for step in range(200):
            client.log("run", 1000 * number + step, a=1)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_steps = [1000 * number + step for number in range(8) for step in range(200)]
    assert sorted(steps(logged(tmp_path))) == all_steps


def test_in_a_command_they_belong_to_its_run_and_only_its_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv(client.RANK, "1")
    client.log("run", 1, a=1)
    assert not (tmp_path / "logged").exists()
    monkeypatch.setenv(client.RANK, "0")
    client.log("other", 1, a=1)
    assert read(logged(tmp_path, "other")) == [(1, {"a": 1.0})]
    path = tmp_path / "job" / "metrics.jsonl"
    monkeypatch.setenv(client.METRICS, str(path))
    client.log("one", 1, a=1)
    client.log("two", 2, a=2)
    assert read(opened("lines", path)) == [(1, {"a": 1.0}), (2, {"a": 2.0})]
    assert [file.name for file in (tmp_path / "logged").iterdir()] == ["other"]


def test_a_runs_name_stays_in_the_home_folder(tmp_path):
    for run, folder in (("../../x", "-..-x"), ("a/b c", "a-b-c"), ("", "run"), ("..", "run")):
        client.log(run, 1, a=1)
        assert [path.name for path in (tmp_path / "logged").iterdir()] == [folder]
        shutil.rmtree(tmp_path / "logged")


def test_a_folder_that_can_not_be_made_is_named_once(tmp_path, capsys):
    (tmp_path / "logged").touch()
    for step in range(3):
        client.log("run", step, a=1)
    assert capsys.readouterr().err.count("can't write to") == 1


FULL = """
import resource, signal, sys
from finetop.core.external.client import log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log("run", 1, loss=1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
log("run", 2, loss=1.0)
log("run", 3, loss=1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log("run", 4, loss=1.0)
"""


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="files are limited"
)
def test_a_full_disk_cuts_a_line_and_no_other(tmp_path):
    environment = {**os.environ, client.HOME: str(tmp_path)}
    subprocess.run([sys.executable, "-c", FULL, "60"], env=environment, check=True)
    lines = (tmp_path / "logged" / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert steps(logged(tmp_path)) == [1, 4]
    assert len(lines[1]) < len(lines[0])


def test_the_callback_reports_what_a_trainer_logs_and_that_of_another_rank_is_silent(tmp_path):
    arguments = SimpleNamespace(output_dir="outputs/my-run")
    state = SimpleNamespace(is_world_process_zero=True, global_step=5, max_steps=50)
    own = client.callback()()
    own.on_log(arguments, state, None, logs={"loss": 1.5, "text": "x"})
    own.on_log(arguments, state, None, logs={"train_runtime": 3.0, "train_loss": 9.0})
    own.on_log(arguments, state, None, logs=None)
    reader = logged(tmp_path, "my-run")
    assert read(reader) == [(5, {"loss": 1.5})]
    assert reader.total == 50
    state.is_world_process_zero = False
    client.callback()("mine").on_log(arguments, state, None, logs={"loss": 1.5})
    assert [path.name for path in (tmp_path / "logged").iterdir()] == ["my-run"]
