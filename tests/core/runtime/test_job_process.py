"""A job's process among ranks: how it ends when another rank stops and leaves it alone."""

import json
import os
import signal

import msgspec
import pytest

from finetop.core.protocol.events import Ended, Phase
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime import gpu_share, job_process, ranks
from finetop.core.runtime.files import write_whole
from finetop.core.runtime.stop_signal import StopAsked


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make this process rank 0 of two, as far as possible; the other is on another machine."""
    spec = JobSpec(1, 1, 1, "r", "train", {"budget": {"memory_gib": 12.0}}, {}, ranks=2, nodes=2)
    (tmp_path / "job.json").write_bytes(msgspec.json.encode(spec))
    (tmp_path / "ranks").mkdir()
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in job_process.SETTINGS:
        monkeypatch.setenv(name, job_process.SETTINGS[name])
    monkeypatch.setattr(job_process.faulthandler, "enable", lambda: None)
    monkeypatch.setattr(job_process.faulthandler, "register", lambda number: None)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def other_says(folder, ended):
    words = ranks.RankRecord(1, "1", "of another machine", ended, 1.0)
    write_whole(folder / "ranks" / "1.json", msgspec.json.encode(words))


def loses_the_other(*given):
    raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:23456")


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (Ended("stopped", "asked to stop", kind="asked"), "stopped", 0),
        (Ended("failed", "row 3", kind="bad_data"), "failed", 1),
        (None, "failed", 1),
    ],
)
def test_a_rank_that_loses_one_which_was_asked_to_stop_has_stopped_too(folder, said, status, code):
    other_says(folder, said)
    assert job_process.run(folder, loses_the_other, lambda where: "") == code
    ended = ranks.read(folder)[0].ended
    assert ended is not None and ended.status == status
    assert f'"status":"{status}"' in (folder / "events.jsonl").read_text()


def test_a_rank_that_is_not_the_first_works_and_writes_no_events(folder, monkeypatch):
    def work(spec, job_folder, events, stop):
        events.write(Phase("training"))
        events.sync()
        assert gpu_share.limit() == gpu_share.Limit(12.0), "its budget's"
        return Ended("finished")

    monkeypatch.setattr(gpu_share, "_own", gpu_share._Own())
    monkeypatch.setenv("RANK", "1")
    with (folder / "out.txt").open("w") as out:
        monkeypatch.setattr(job_process.sys, "stdout", out)
        assert job_process.run(folder, work, lambda where: "") == 0
    ended = ranks.read(folder)[1].ended
    assert ended is not None and ended.status == "finished"
    assert not (folder / "events.jsonl").exists()


def test_one_that_is_asked_to_stop_before_it_trains_stops(folder):
    def work(*given):
        raise StopAsked

    assert job_process.run(folder, work, lambda where: "") == 0
    assert ranks.read(folder)[0].ended == Ended("stopped", "asked to stop", kind="asked")


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (1, "0"), (None, "0")])
def test_a_job_without_gpus_sees_none_wherever_it_runs(folder, monkeypatch, gpus, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    spec = json.loads((folder / "job.json").read_text())
    spec["recipe"] = {"budget": {"gpus": gpus}}
    (folder / "job.json").write_text(json.dumps(spec))

    def work(*_):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
        return Ended("finished")

    assert job_process.run(folder, work, lambda where: "") == 0


def test_another_program_gets_the_environment_without_ours(monkeypatch):
    for name in job_process.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(job_process, "_added", set())
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setenv("OWN", "1")
    job_process.set_environment()
    assert job_process.os.environ["TRANSFORMERS_VERBOSITY"] == "error"
    environment = job_process.users_environment()
    assert environment.keys() & job_process.SETTINGS.keys() == {"TOKENIZERS_PARALLELISM", "CUDA_DEVICE_ORDER"}
    assert environment["TOKENIZERS_PARALLELISM"] == "true"
    assert environment["OWN"] == "1"
