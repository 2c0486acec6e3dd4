"""finetop modules run as child processes: the request is JSON on standard input, the reply is lines."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import msgspec

from finetop.core.runtime import processes

ENDS_S = 5.0  # for an abandoned child to remove what it has half written


class Answer(NamedTuple):
    """A child's output and exit code after it has ended."""

    code: int
    output: bytes
    errors: bytes

    @property
    def last_error(self) -> str:
        return last_line(self.errors)


def last_line(text: bytes) -> str:
    """Return the last non-empty line, up to 300 characters."""
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it printed nothing"


@contextmanager
def asked_child(
    module: str, *words: str, asked: bytes, errors: IO[bytes] | None = None, own_session: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start `python -m module words` with a request; yield the process and its output, and end it after the block."""
    pipe, command = subprocess.PIPE, processes.python(module, *words)
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=own_session)
    assert process.stdin is not None and process.stdout is not None
    try:
        _ask(process.stdin, asked)
        yield process, process.stdout
    finally:
        process.terminate()
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _ask(pipe: IO[bytes], asked: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write(asked)
        pipe.close()


def write_line(message: Any) -> None:
    """Write a line of this process's reply, as JSON, at once."""
    print(msgspec.json.encode(message).decode(), flush=True)


async def answer_lines(module: str, *words: str, asked: bytes) -> AsyncGenerator[bytes]:
    """Yield the lines that `python -m module words` writes, as they come; kill it when the caller stops listening.

    It is awaited in threads: when an app ends, nothing of it may be left in a loop that is closing.
    """
    pipe, command = subprocess.PIPE, processes.python(module, *words)
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        await asyncio.to_thread(_ask, process.stdin, asked)
        while line := await asyncio.to_thread(process.stdout.readline):
            yield line
    finally:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_S)
        process.stdin.close()
        process.stdout.close()


async def answer(module: str, *words: str, asked: bytes) -> Answer:
    """Run `python -m module words` with a request; if cancelled, kill it with all processes that it started."""
    pipe, command = subprocess.PIPE, processes.python(module, *words)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        output, errors = await process.communicate(asked)
    finally:
        if process.returncode is None:
            processes.kill([*processes.descendants(process.pid), process.pid])
            await process.wait()
            for unread in (process.stdout, process.stderr):
                if unread is not None:
                    await unread.read()  # to the end, which closes it
    assert process.returncode is not None
    return Answer(process.returncode, output, errors)
