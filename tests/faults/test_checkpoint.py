"""Fault 31: kill -9 while a checkpoint is written: a partial one is never offered for resuming."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import times, wait_until

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.supervisor.launchers import resume_point

WRITER = Path(__file__).with_name("half_writer.py")


def is_whole(folder: Path) -> bool:
    """Compare the bytes themselves, not the manifest."""
    sizes = [(folder / f"model-{n}.safetensors").stat().st_size for n in range(4)]
    return sizes == [262_144] * 4 and (folder / checkpoint.STATE / "tree.json").stat().st_size == 2000


@pytest.fixture
def nursery(tmp_path):
    """A process with all imports done, which forks a writer for each line that it reads."""
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.communicate()


@pytest.mark.parametrize("kills", [times(60, 15)])
def test_kill_9_in_a_save_leaves_no_half_checkpoint_to_go_on_from(tmp_path, nursery, survived, kills):
    moments = random.Random(31)
    lost = wrong = half = repeats = 0
    told: set[int] = set()
    while repeats < kills or not half:  # until it was killed in a save at least once
        repeats += 1
        nursery.stdin.write("write\n")
        nursery.stdin.flush()
        writer, before = int(nursery.stdout.readline()), len(told)
        side = tmp_path / "side.txt"
        wait_until(lambda: side.exists() and len(side.read_text().split()) > before, "it writes")  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.1))  # at any moment of writing
        os.kill(writer, signal.SIGKILL)
        assert nursery.stdout.readline() == "ended\n"
        half += any((tmp_path / "checkpoints").glob(".step-*"))
        there = checkpoint.complete(tmp_path)
        wrong += sum(not is_whole(folder) for folder in there)
        told = {int(line) for line in side.read_text().split()}
        step, place = resume_point.choose(tmp_path, "one", None)
        wrong += place is None or not is_whole(place)
        lost += max(told) > step
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    reported_steps = [event.step for line in lines if isinstance(event := read(line), events.Checkpoint)]
    survived("31", "checkpoint half written", repeats=repeats, written=len(told),
             lost=lost + len(told - set(reported_steps)),
             doubled=len(reported_steps) - len(set(reported_steps)), wrong=wrong)  # fmt: skip


def read(line: bytes) -> object:
    try:
        return events.decode(line).e
    except ValueError:
        return json.loads("null")


def test_what_was_left_half_written_goes_when_the_run_goes_on(tmp_path):
    folder = tmp_path / "checkpoints"
    for name in (".step-000005.partial", ".step-000003.gone"):
        (folder / name).mkdir(parents=True)
    checkpoint.clear_leftovers(tmp_path)
    assert list(folder.iterdir()) == []
