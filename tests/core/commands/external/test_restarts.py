"""Runs of other programs come back with a rebuilt database."""

import sys

import pytest
from dumping import differences, dump

from finetop.core.protocol.messages.session import Shutdown
from finetop.core.supervisor.rebuild.rebuild import rebuild

PYTHON = sys.executable
STEPS = [(step, round(1 / step, 4)) for step in range(1, 9)]


@pytest.mark.slow  # five runs of every ending
def test_runs_of_other_programs_come_back_with_a_rebuilt_database(
    finetop, queue, station, losses, adapter, tmp_path
):
    code = "import runpy, shutil; runpy.run_path('train.py'); shutil.copytree('adapter', 'out')"
    queue(
        PYTHON, "-c", code, "1", "8", options=("--output", "out", "--set", "check.at_end=false"), name="made"
    )
    queue(PYTHON, "-c", "raise SystemExit(3)", name="failed")
    resume = ("--resume-command", f"{PYTHON} train.py 3 4")
    queue(PYTHON, "train.py", "1", "4", "hold", options=resume, name="paused")
    (tmp_path / "made").mkdir()
    assert finetop("watch", "made", "--name", "watched")[0] == 0
    station.wait_state("made", "finished")
    station.wait_state("failed", "failed")
    station.wait_step("paused", 4)
    finetop("pause", "paused")
    finetop("stop", "watched")
    station.wait_state("paused", "queued")
    station.wait_state("watched", "stopped")
    station.ask(Shutdown())
    station.processes[-1].wait()
    before = dump(station.home.database)
    assert rebuild(station.home).left_out == []
    assert differences(before, dump(station.home.database)) == []
    station.up()
    assert finetop("resume", "paused")[0] == 0
    station.wait_state("paused", "finished")
    assert losses("paused") == STEPS[:4]
    assert losses("made") == STEPS
