"""Fault 14: no memory left: the failure says exactly that, and blames nothing else."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from waiting import times, wait_until

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime import kernel_log
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings import exit_reason
from finetop.core.supervisor.launchers import local

LIMIT = 256 << 20
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A cgroup whose processes may hold 256 MiB, if this machine allows us to make one."""
    root, limit = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")
    group = root / f"finetop-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(LIMIT))
    except OSError as error:
        group.rmdir() if group.is_dir() else None
        pytest.skip(f"no cgroup can be made here: {error}")
    swap = group / ("memory.memsw.limit_in_bytes" if root == V1 else "memory.swap.max")
    if swap.exists():
        swap.write_text(str(LIMIT if root == V1 else 0))
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text().strip(), "the group is empty")
    group.rmdir()


@pytest.mark.parametrize("repeats", [times(20, 2)])
def test_what_the_kernel_killed_for_want_of_memory_says_so_and_what_somebody_killed_does_not(
    cold_rig, small_group, survived, repeats
):
    supervisor = cold_rig.up()
    (small_group / "cgroup.procs").write_text(str(supervisor.pid))
    who = "out of memory on this machine: it held"
    if os.access(kernel_log.LOG, os.R_OK):
        who = r"out of memory in its control group: the kernel killed process \d+ \(python\S*\), which held"
    wrong = 0
    for _ in range(repeats):
        state = cold_rig.wait_state(cold_rig.submit(steps=3, end="eat"), "failed").state
        wrong += (state.kind, state.signal) != ("out_of_memory", 9)
        # its share of the group: the supervisor and its keeper hold some of it
        wrong += not re.match(rf"{who} 0\.2[345] of 0\.25 GiB", state.cause)
        wrong += "lower train.batch_size" not in state.hint
        # right after it, in the same group: a user's own kill -9
        name = cold_rig.submit(steps=100_000, pause_s=0.01)
        wait_until(lambda: cold_rig.ask(GetRun(name)).row.step, "it trains")  # noqa: B023
        record = cold_rig.keeper(name)
        os.kill(record["job_pid"], signal.SIGKILL)
        state = cold_rig.wait_state(name, "failed").state
        wrong += (state.kind, state.cause) != ("killed", "killed by signal 9")
    orphans = len(cold_rig.orphans())
    supervisor.kill()  # so that the group can end
    supervisor.wait()
    survived(
        "14", "a cgroup's limit, and kill -9 beside it", repeats=2 * repeats, wrong=wrong, orphans=orphans
    )


JOB = """
import sys
from pathlib import Path
from finetop.core.runtime import job_process as job
def work(spec, folder, log, stop):
    held = []
    while True:
        held.append(bytearray(64 << 20))
raise SystemExit(job.run(Path(sys.argv[1]), work, lambda folder: ""))
"""
NATIVE = (
    "import os, sys; sys.stderr.write(\"terminate called after throwing 'std::bad_alloc'\\n\"); os.abort()"
)


@pytest.mark.parametrize(
    ("program", "limit"),
    [(JOB, 1 << 30), (JOB, 24 << 20), (NATIVE, 1 << 30)],  # the second is too little to start
    ids=["python", "at-start", "native"],
)
def test_a_limit_of_address_space_is_told_as_no_memory(tmp_path, survived, program, limit):
    """What `ulimit -v` does: Python, the loader or a library gets no memory, and nothing is killed."""
    folder = tmp_path / "home" / "runs" / "0001-a" / "jobs" / "0001-train"
    folder.mkdir(parents=True)
    (folder / "attempt").write_text("1")
    spec = data.JobSpec(1, 1, 1, "a", "train", {})
    (folder / "job.json").write_bytes(msgspec.json.encode(spec))

    limited = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))"
    limited += "; os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
    command = [sys.executable, "-c", limited, program, str(folder)]
    subprocess.run(
        [sys.executable, "-m", "finetop.core.runtime.keeper", str(folder), "1", *command], check=True
    )

    lines = (folder / "events.jsonl").read_bytes().splitlines() if (folder / "events.jsonl").exists() else []
    event_rows = [event for line in lines if isinstance(event := events.decode(line).e, events.Ended)]
    facts = local.exit_of(folder, 1)
    job = Job.__new__(Job)
    object.__setattr__(job, "state", data.Running(since=time.time()))
    object.__setattr__(job, "asked", "")
    object.__setattr__(job, "verb", "train")
    ended = event_rows[-1] if event_rows else None
    last_lines = exit_reason.last_lines(folder / "log.txt", facts)
    state = exit_reason.ending(job, facts, ended, last_lines, rebooted=False)
    assert isinstance(state, data.Failed) and state.kind == "out_of_memory", state
    assert state.cause.startswith("out of memory on this machine"), state
    survived("14", f"ulimit -v {limit >> 10}: out of memory on this machine")
