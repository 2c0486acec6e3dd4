"""The last numbers of a killed command are read before its end is settled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from finetop.core.external.note import FILE, LOCKED
from finetop.core.protocol import job_kinds
from finetop.core.runtime import child
from finetop.core.supervisor.endings import last_read

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_after_a_read_the_caller_looks_again_and_a_locked_job_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / FILE).write_text("")
    codes = [LOCKED, LOCKED, 0]
    read: list[int] = []

    async def answer(module: str, *words: str, asked: bytes) -> child.Answer:
        read.append(codes[len(read)])
        if read[-1] == 0:
            (tmp_path / "job" / FILE).unlink()
        return child.Answer(read[-1], b"", b"")

    monkeypatch.setattr(last_read.child, "answer", answer)
    monkeypatch.setattr(last_read, "LOCKED_S", 0.0)
    supervisor: Any = SimpleNamespace(
        last_reads={}, read_out=set(), home=SimpleNamespace(root=tmp_path), touch=lambda: None
    )
    job: Any = SimpleNamespace(kind=job_kinds.of("command"), id=1, attempt=1, folder="job")
    assert not await last_read.is_over(supervisor, job)
    assert await supervisor.last_reads[1, 1][0]
    assert read == codes
    assert not await last_read.is_over(supervisor, job), (
        "the size seen by then may lack what was just written"
    )
    assert await last_read.is_over(supervisor, job)
    unread: Any = SimpleNamespace(kind=job_kinds.of("command"), id=2, attempt=1, folder="job")
    assert await last_read.is_over(supervisor, unread), "nothing was left to read"
