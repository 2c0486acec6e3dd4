"""Has a process beside the app find something out: it is asked in JSON, and tells lines of JSON as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

ENDS_S = 1.0  # for a killed process to be gone; it takes milliseconds


async def told(module: str, home: Path, asked: bytes) -> AsyncGenerator[bytes]:
    """Start `python -m module HOME`, tell it what is asked, give its lines; it ends when nobody listens.

    It is waited for in threads: when the app ends, nothing of it may be left to a loop that is closing.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        await asyncio.to_thread(_tell, process.stdin, asked)
        while line := await asyncio.to_thread(process.stdout.readline):
            yield line
    finally:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_S)
        process.stdin.close()
        process.stdout.close()


def _tell(pipe: IO[bytes], text: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write(text)
        pipe.close()
