"""Runs jobs in Slurm; jobs that stay on this machine go to the local launcher.

An attempt in Slurm has slurm.json in its folder. The folder takes precedence over Slurm: a final exit record ends the
attempt, a held lock keeps it alive. The queue decides only what neither shows, and while Slurm does not answer no
job is declared dead.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from finetop.core.protocol.messages.machine import NodeRow
from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.runtime.causes import Cause
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import size_of, write_whole
from finetop.core.runtime.locks import is_held
from finetop.core.supervisor.launchers import launcher, slurm_record
from finetop.core.supervisor.launchers.launcher import (
    Attempt,
    Batch,
    Exit,
    JobStatus,
    Place,
    Usage,
    Variables,
)
from finetop.core.supervisor.launchers.local import LocalLauncher, claim, exit_of, locked, record_of
from finetop.core.supervisor.launchers.slurm_batch import Key
from finetop.core.supervisor.launchers.slurm_queue import SlurmQueue
from finetop.core.supervisor.launchers.slurm_record import Record
from finetop.core.wording import slurm as words

SETTLE_S = 3.0  # for a node's last writes to become visible here
INSIST_S = 15.0  # for a keeper to notice that it must die; then Slurm is told
DOUBT_S = 120.0  # after a controller was unreachable
SILENT_S = 15.0  # after which the app reports that Slurm does not answer


class SlurmLauncher:
    """A Launcher of a cluster, over that of this machine."""

    def __init__(self, local: LocalLauncher) -> None:
        self._local = local
        self.is_alive, self.logs = local.is_alive, local.logs  # the same wherever a job runs
        # processes that wait for a job, and those to be reaped, are here
        self.tend, self.warm, self.warm_up, self.let_go = local.tend, local.warm, local.warm_up, local.let_go
        self._queue = SlurmQueue()
        self._of_here: set[Key] = set()  # attempts on this machine
        self._sizes: dict[Key, int] = {}
        self._gone: dict[Key, float] = {}  # when Slurm first reported the end of an attempt (monotonic)
        self._insisted: dict[Key, float] = {}

    def submit(
        self, attempt: Attempt, variables: Variables, *, may_be_warm: bool = False, batch: Batch | None = None
    ) -> bool:
        if batch is None:
            return self._local.submit(attempt, variables, may_be_warm=may_be_warm)
        if not claim(attempt.folder, attempt.number):
            return False
        (attempt.folder / "asked.json").unlink(missing_ok=True)
        record = Record(attempt.number, secrets.token_hex(8))  # a mark that no other submission has
        slurm_record.write(attempt.folder, record)
        abort_at("slurm-claimed")
        self._of_here.discard(_key(attempt))
        self._queue.add(attempt, batch, variables, record)
        return True

    def list(self, attempts: Sequence[Attempt]) -> dict[int, JobStatus]:
        in_slurm: dict[Key, tuple[Attempt, Record]] = {}
        local = []
        for attempt in attempts:
            if (record := self._record(attempt)) is None:
                local.append(attempt)
            else:
                in_slurm[_key(attempt)] = (attempt, record)
        self._queue.watch(in_slurm)
        return {
            **self._local.list(local),
            **{key[0]: self._status_of(*pair) for key, pair in in_slurm.items()},
        }

    def _status_of(self, attempt: Attempt, record: Record) -> JobStatus:
        key, queue = _key(attempt), self._queue
        view = queue.view
        listed = view.job_of(record) if view is not None and record.id else None
        if listed is not None and listed.waits and listed.is_stuck:
            return self._stuck(attempt, record)
        if listed is not None and listed.waits:
            self._gone.pop(key, None)
            return JobStatus(None, True, self._size(attempt), Place(words.waits(listed.reason, listed.id)))
        exit, size = exit_of(attempt.folder, attempt.number), size_of(attempt.folder / "events.jsonl")
        self._sizes[key] = size
        if exit is not None and not exit.goes_on:
            if exit.why:  # the cluster made it
                exit = replace(exit, cause=cause_of("", exit.why, has_begun=True))
            return JobStatus(exit, False, size, Place())
        if is_held(attempt.folder / "lock"):
            self._gone.pop(key, None)
            return JobStatus(None, True, size, Place("", "" if listed is None else listed.nodes))
        if record.refused:
            message = f"Slurm refuses it: {record.refused}"
            cause = Cause("bad_input", message, words.advice(record.refused))
            return JobStatus(Exit(None, None, time.time(), 0, cause=cause), False, size, Place())
        if not record.id:
            if key in queue.missing:
                return JobStatus(None, False, size, Place())
            return JobStatus(None, True, size, Place(queue.because(key) or "is being submitted to Slurm"))
        queue.hurry()  # nobody holds its lock: it is starting or ending
        if listed is not None and not listed.is_over:
            self._gone.pop(key, None)
            return JobStatus(None, True, size, Place("", listed.nodes))
        has_begun = record_of(attempt.folder, attempt.number) is not None
        waits = "" if has_begun else queue.silence() or "waits in Slurm's queue"
        alive = JobStatus(None, True, size, Place(waits))
        if view is None or queue.is_silent:
            return alive
        gone_at = self._gone.setdefault(key, time.monotonic())
        if view.began <= gone_at or time.monotonic() - gone_at < SETTLE_S:
            return alive
        state = listed.state if listed is not None else queue.state_of(record.id)
        if state is None:
            return alive
        # a change of the folder: what a node wrote last is seen now
        write_whole(attempt.folder / "looked", b"")
        has_begun = record_of(attempt.folder, attempt.number) is not None
        wish = slurm_record.latest_request(attempt.folder, attempt.number).what
        reason = "" if listed is None else listed.reason
        # a restarted controller cancels jobs that it no longer knows: nobody requested that
        is_doubtful = state == "CANCELLED" and time.monotonic() - queue.was_silent_at < DOUBT_S
        is_unexplained = reason in ("", "None") or not words.plainly(reason)
        is_lost = (is_doubtful or state in NEVER_BEGAN) and is_unexplained
        if is_lost and not has_begun and exit is None and wish not in ("stop", "kill"):
            # Slurm has lost it, or could not start it: it goes in once more
            return JobStatus(None, False, size, Place())
        return self._over(attempt, record, state, reason) or alive

    def _stuck(self, attempt: Attempt, record: Record) -> JobStatus:
        """Give up a job that Slurm could not start and holds for ever: submit it again, or continue it in a new job."""
        if record_of(attempt.folder, attempt.number) is not None:
            over = self._over(attempt, record, "NODE_FAIL", "")
            self._queue.cancel(record)
            return over or JobStatus(None, True, self._size(attempt), Place())
        return JobStatus(None, False, self._size(attempt), Place())  # revoking it also cancels it

    def _over(self, attempt: Attempt, record: Record, state: str, reason: str) -> JobStatus | None:
        """End an attempt that Slurm reports as over; return None if it came to life meanwhile."""
        with locked(attempt.folder) as is_free:
            if not is_free:
                return None
            exit = exit_of(attempt.folder, attempt.number)
            write_whole(attempt.folder / "attempt", b"0")  # who still comes leaves
        if exit is not None and exit.goes_on:
            self._queue.cancel(record)  # it may be queued again by now
        size = size_of(attempt.folder / "events.jsonl")
        wish = slurm_record.latest_request(attempt.folder, attempt.number).what
        if exit is None and wish in ("stop", "kill"):
            number = signal.SIGTERM if wish == "stop" else signal.SIGKILL
            return JobStatus(Exit(None, int(number), time.time(), 0), False, size, Place())
        has_begun = record_of(attempt.folder, attempt.number) is not None
        ended = exit or Exit(None, None, time.time(), 0)
        cause = cause_of(state, ended.why, reason, has_begun=has_begun)
        return JobStatus(replace(ended, cause=cause), False, size, Place())

    def _record(self, attempt: Attempt) -> Record | None:
        """Return an attempt's Slurm record, or None if it is on this machine. Raises OSError."""
        key = _key(attempt)
        if key in self._of_here:
            return None
        record = self._queue.records.get(key) or slurm_record.read(attempt.folder, attempt.number)
        if record is None:
            self._of_here.add(key)
        return record

    def _size(self, attempt: Attempt) -> int:
        """Return the size of a waiting attempt's events, which does not change."""
        key = _key(attempt)
        if key not in self._sizes:
            self._sizes[key] = size_of(attempt.folder / "events.jsonl")
        return self._sizes[key]

    def revoke(self, attempt: Attempt) -> bool:
        record = self._record(attempt)
        if not self._local.revoke(attempt):
            return False
        if record is not None and record.id:
            self._queue.cancel(record)
        return True

    def signal(self, attempt: Attempt, kind: launcher.Signal) -> bool:
        """Write a request into the job's folder, where its keeper reads it; a waiting job leaves the queue."""
        if self._record(attempt) is None:
            return self._local.signal(attempt, kind)
        slurm_record.write_request(attempt.folder, attempt.number, kind)
        if kind != "stacks":
            self._queue.end(_key(attempt), signal.SIGTERM if kind == "stop" else signal.SIGKILL)
        return True

    def cancel(self, attempt: Attempt, waited_s: float) -> None:
        record = self._record(attempt)
        if record is None:
            return self._local.cancel(attempt, waited_s)
        key, now = _key(attempt), time.monotonic()
        if record.id and waited_s >= INSIST_S and now - self._insisted.get(key, -INSIST_S) >= INSIST_S:
            self._insisted[key] = now
            self._queue.cancel(record)
        return None

    def trace(self, attempt: Attempt) -> launcher.Trace:
        if self._record(attempt) is None:
            return self._local.trace(attempt)
        return "none" if record_of(attempt.folder, attempt.number) is None else "here"

    def clear(self, attempt: Attempt) -> int:
        if self._record(attempt) is None:
            return self._local.clear(attempt)
        return size_of(attempt.folder / "events.jsonl")  # its processes are on a node: Slurm ends them

    def usage(self, attempts: Sequence[Attempt]) -> dict[int, Usage]:
        usages = self._local.usage(self._here(attempts))
        for attempt in attempts:
            is_running = self._record(attempt) is not None and is_held(attempt.folder / "lock")
            if is_running and (usage := slurm_record.usage(attempt.folder)) is not None:
                usages[attempt.job] = usage
        return usages

    def processes(self, attempts: Sequence[Attempt]) -> Sequence[ProcessRow]:
        return self._local.processes(self._here(attempts))

    def owners(self, attempts: Sequence[Attempt], pids: set[int]) -> Mapping[int, int]:
        return self._local.owners(self._here(attempts), pids)

    def _here(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        return [attempt for attempt in attempts if self._record(attempt) is None]

    def nodes(self) -> Sequence[NodeRow]:
        nodes = self._queue.ask_nodes()
        return [NodeRow(n.name, n.state, n.partitions, n.gpus, n.used, n.kind, n.reason, []) for n in nodes]

    def trouble(self) -> str:
        queue = self._queue
        is_long = queue.heard_at is None or time.time() - queue.heard_at > SILENT_S
        if not (queue.is_asked and queue.is_silent and is_long):
            return ""
        return f"{queue.silence()}: runs there go on, nothing new starts"


def _key(attempt: Attempt) -> Key:
    return attempt.job, attempt.number


# what Slurm says where it lost one
NEVER_BEGAN = ("", "COMPLETED", "FAILED", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")
LIMIT = "Raise slurm.time in settings.yaml, or save more often: train.save_every."


def cause_of(state: str, keeper_reason: str, reason: str = "", *, has_begun: bool) -> Cause:
    """Return why Slurm ended a job: from its state and reason, else from what the keeper saw."""
    match state:
        case "TIMEOUT" | "DEADLINE":
            return Cause("time_limit", "its time limit in Slurm was reached", LIMIT)
        case "CANCELLED":
            hint = "Not requested through finetop: somebody ran scancel."
            return Cause("cancelled", "cancelled in Slurm", hint)
        case "NODE_FAIL" | "BOOT_FAIL":
            return Cause("node_failed", "its node failed", "")
        case "OUT_OF_MEMORY":
            return Cause("out_of_memory", "out of memory on its node", "Raise it: slurm.extra: [--mem=64G].")
        case "PREEMPTED":
            return Cause("preempted", "preempted in Slurm by a job of higher priority", "")
    if keeper_reason == "time_limit":
        return Cause("time_limit", "its time limit in Slurm was reached before a new checkpoint", LIMIT)
    if keeper_reason == "preempted":
        return Cause("preempted", "ended by Slurm, and saved", "")
    if not has_begun and (plain := words.plainly(reason)) and reason != "None":
        message = f"Slurm gave it up: {reason} ({plain.format(id='JOB')})"
        return Cause("bad_input", message, words.advice(reason))
    return Cause("vanished", "its process vanished without an exit record", "")
