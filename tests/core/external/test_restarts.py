"""Runs of other programs come back with a rebuilt database."""

import sys

import pytest
from dumping import differences, dump
from metric_files import process, scalars
from waiting import wait_until

from finetop.core.protocol.messages.runs import GetRun, Sql
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
    station.shut_down()
    before = dump(station.home.database)
    assert rebuild(station.home).left_out == []
    assert differences(before, dump(station.home.database)) == []
    station.up()
    assert finetop("resume", "paused")[0] == 0
    station.wait_state("paused", "finished")
    assert losses("paused") == STEPS[:4]
    assert losses("made") == STEPS


@pytest.mark.slow  # files are searched for every 5 s or, on a busy machine, less often
def test_numbers_that_were_taken_back_stay_so_in_a_rebuilt_database(
    finetop, queue, station, losses, tmp_path, tmp_path_factory
):
    """An event file in the run's folder turns out to be another program's."""
    (tmp_path / "made").write_bytes(scalars(1, accuracy=9.0) + scalars(195, accuracy=9.0))
    file = tmp_path / "events.out.tfevents.1800000000.host"
    code = f"import runpy, shutil; shutil.copy('made', '{file}'); runpy.run_path('train.py')"
    queue(PYTHON, "-c", code, "1", "4", "hold", name="own")
    station.wait_row("own", lambda row: row.step == 195)
    with process(tmp_path_factory.mktemp("elsewhere"), file) as other:
        station.wait_row("own", lambda row: row.step == 4)
    keys = "SELECT DISTINCT key FROM metrics JOIN runs ON id = run_id WHERE name = 'own'"
    wait_until(lambda: losses("own") == STEPS[:4], lambda: station.about("own"))
    assert station.ask(Sql(keys, 10)).rows == [["loss"]]
    (left_out,) = station.ask(GetRun("own")).numbers_from.left_out
    assert (left_out.file, left_out.why.split(" (")[0]) == (file.name, f"process {other.pid}")
    finetop("stop", "own")
    station.wait_state("own", "stopped")
    station.shut_down()
    before = dump(station.home.database)
    assert rebuild(station.home).left_out == []
    assert differences(before, dump(station.home.database)) == []
