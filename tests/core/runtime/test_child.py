"""Children that answer in lines: read as they write, ended when nobody listens, killed with all their processes."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from finetop.core.runtime import child, processes

# Answers each argument, then the request; "wait" starts a child of its own and keeps running.
MODULE = """
import subprocess, sys, time
for word in sys.argv[1:]:
    print(word, flush=True)
print(sys.stdin.read(), flush=True)
if "wait" in sys.argv:
    print(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid, flush=True)
    time.sleep(600)
if "fail" in sys.argv:
    sys.exit("first\\n\\nlast")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "speaker.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_it_is_heard_line_by_line_and_ends_with_the_block() -> None:
    with child.asked_child("speaker", "one", "wait", asked=b"what") as (process, lines):
        assert [next(lines) for _ in range(3)] == [b"one\n", b"wait\n", b"what\n"]
        os.kill(int(next(lines)), 9)
        assert process.poll() is None
    assert process.returncode is not None and lines.closed


async def test_its_lines_come_to_a_loop_too_and_it_is_killed_when_nobody_listens() -> None:
    async with aclosing(child.answer_lines("speaker", "wait", asked=b"what")) as lines:
        heard = [await anext(lines) for _ in range(3)]
        parent = int(processes.stat_field(int(heard[2]), 1) or 0)
        os.kill(int(heard[2]), 9)
        assert heard[:2] == [b"wait\n", b"what\n"] and processes.alive(parent)
    assert not processes.alive(parent)


async def test_its_whole_answer_comes_with_its_code_and_last_words() -> None:
    answer = await child.answer("speaker", "one", asked=b"what")
    assert answer == (0, b"one\nwhat\n", b"")
    failed = await child.answer("speaker", "fail", asked=b"")
    assert failed.code == 1 and failed.last_error == "last"


async def test_cancelled_it_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    before = set(processes.descendants(os.getpid()))
    task = asyncio.create_task(child.answer("speaker", "wait", asked=b"what"))
    while len(started := set(processes.descendants(os.getpid())) - before) < 2:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        while any(processes.alive(pid) for pid in started):  # a killed process dies when it is next scheduled
            await asyncio.sleep(0.02)
