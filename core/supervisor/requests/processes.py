"""Which processes a run's jobs have now, for who looks at the run: from /proc, in a thread."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core import protocol
from finetop.core.runtime import processes
from finetop.core.store import runs
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.jobs import launch_local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.supervisor.state import Supervisor

_MOST = 50
_COMMAND = 200  # characters


async def tell(supervisor: Supervisor, ask: protocol.Processes) -> protocol.ProcessesAnswer:
    """List the keepers of a run's live jobs, each with what is below it."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    own = [
        (job.id, job.attempt, supervisor.home.root / job.folder)
        for job in supervisor.live
        if job.run_id == run_id
    ]
    return await aside(partial(_found, own))


def _found(own: Sequence[tuple[int, int, Path]]) -> protocol.ProcessesAnswer:
    seen = processes.look() if own else {}
    rows: list[protocol.ProcessRow] = []
    for job, attempt, folder in own:
        known = launch_local.record(folder, attempt)
        keeper = seen.get(int(known["pid"])) if known is not None else None
        if keeper is not None:
            tree = [keeper, *processes.below(keeper.pid, seen)][:_MOST]
            rows += [_row(job, process) for process in tree]
    return protocol.ProcessesAnswer(rows)


def _row(job: int, process: processes.Process) -> protocol.ProcessRow:
    facts = _status(process.pid)
    kib, threads = facts.get("VmRSS", "").split(), facts.get("Threads", "")
    return protocol.ProcessRow(
        pid=process.pid,
        job=job,
        command=_command(process.pid),
        state=process.state,
        cpu_s=process.cpu_s,
        memory_gib=int(kib[0]) / 2**20 if kib else None,
        threads=int(threads) if threads.strip().isdecimal() else None,
    )


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}


def _command(pid: int) -> str:
    """Name what a process runs: the module or program, without the paths in front."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    if "-m" in words[:4]:
        words = words[words.index("-m") + 1 :]
    program, *rest = words or [""]
    return " ".join([program.rpartition("/")[2], *(word.rpartition("/")[2] for word in rest)]).strip()[
        :_COMMAND
    ]


ANSWERS = {protocol.Processes: tell}
