"""Attack: metric files that hold their reader. The program is still watched, and nobody waits for a last read."""

import os
import signal
from contextlib import suppress

import command_runs
import psutil
from command_runs import LOOP, noted, python, stored, submit
from rig import ALONE
from waiting import wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.runs import word
from finetop.core.supervisor.endings import last_read

ENDLESS = """
    import sqlite3
    rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, 'r' AS run_name,"
    rows += " x AS step, '{\\"loss\\": 1}' AS metrics, '2999-01-01' AS timestamp FROM c"
    sqlite3.connect("project.db").execute(f"CREATE VIEW metrics AS {rows}")
"""


def test_a_view_without_end_beside_a_program_takes_neither_its_numbers_nor_a_stop(cold_rig, tmp_path):
    rig = cold_rig
    command_runs.up(rig)
    name = submit(rig, tmp_path / "work", python(ENDLESS + LOOP, 1_000_000, 0.05))
    rig.wait_step(name, 3)
    rig.ask(Stop(name))
    assert word(rig.wait_state(name, "stopped", "failed", "lost").state) == "stopped"
    assert set(noted(tmp_path / "work")) <= set(stored(rig, name))
    log = (rig.job_folder(name) / "log.txt").read_text()
    assert log.count("finetop: project.db: metrics is computed, and no plain table") == 1


def readers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if last_read.MODULE in words:
            found.append(process)
    return found


def test_while_the_last_numbers_of_one_are_read_the_next_runs(cold_rig, tmp_path):
    rig = cold_rig
    rig.settings = ALONE + "slots: {cpu_jobs: 1}\n"
    command_runs.up(rig)
    first = submit(rig, tmp_path / "first", python(LOOP, 1_000_000, 0.01), "first")
    second = submit(rig, tmp_path / "second", python(LOOP, 3, 0.01), "second")
    rig.wait_step(first)
    folder = str(rig.job_folder(first))
    os.kill(rig.process_of(first), signal.SIGKILL)

    def held() -> list[psutil.Process]:
        own = [process for process in readers() if folder in process.cmdline()]
        for process in own:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        return own

    (reader,) = wait_until(held, "the last read begins")
    assert word(rig.wait_state(second, "finished", "failed").state) == "finished"
    assert reader.status() == psutil.STATUS_STOPPED
    reader.resume()
    assert word(rig.wait_state(first, "failed").state) == "failed"
    assert set(noted(tmp_path / "first")) <= set(stored(rig, first))
