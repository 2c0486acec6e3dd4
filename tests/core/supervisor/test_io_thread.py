"""Work in a thread: others are served meanwhile, its errors are raised, and a hanging one blocks nobody else."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from waiting import LIMIT_S

from finetop.core.supervisor.io_thread import aside


async def test_who_waits_for_files_lets_others_go_on():
    goes_on = threading.Event()
    waiting = asyncio.create_task(aside(lambda: goes_on.wait(LIMIT_S)))
    assert await aside(lambda: 7) == 7
    assert not waiting.done()
    goes_on.set()
    assert await waiting


async def test_what_is_refused_is_raised_where_it_was_asked_for():
    with pytest.raises(FileNotFoundError):
        await aside(Path("/nowhere").read_bytes)


def test_a_call_that_never_returns_keeps_no_process_from_ending():
    code = """
import asyncio, threading
from finetop.core.supervisor.io_thread import aside
async def live():
    hangs = asyncio.create_task(aside(threading.Event().wait))
    await asyncio.wait({hangs}, timeout=0.05)
    hangs.cancel()
asyncio.run(live())
print("ended")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S)
    assert (ended.stdout, ended.stderr) == ("ended\n", "")
