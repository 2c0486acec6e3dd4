"""How a job ended, in words: from its exit record, its last message, its log, and requests to it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from finetop.core.protocol import events, runs as data
from finetop.core.runtime import causes, failures, log_file, ranks, stack_dumps
from finetop.core.runtime.files import end_of
from finetop.core.store.jobs import Job
from finetop.core.supervisor.launchers.launcher import Exit
from finetop.core.wording import pulse
from finetop.core.wording.units import gib

HUNG = "hung"  # the request to a job that is killed because it hangs
KILLS = ("kill", HUNG)  # requests that must end a job at once; nothing weaker replaces them
LINES, LINE_LIMIT = 8, 200  # of the log's end, stored with the state
READ_BYTES = 64 << 10  # a crash lists the frames of up to 100 threads
PAUSES = ("pause", "rest")  # requests to a job: from a user, from quiet hours
# torch 2.13's torchrun, about the first rank that failed, before it ends the others.
TORCHRUN = "torch/distributed/elastic/multiprocessing/api.py:"
_EXIT_CODE = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+) ")
_REPORT = re.compile(r"^ +rank +: (\d+) \(local_rank: \d+\)\s+exitcode +: (-?\d+) ", re.MULTILINE)
NEAR = 0.9  # of the memory limit: a process that held this much may have been killed for it


def ending(
    job: Job,
    facts: Exit | None,
    last_event: events.Ended | None,
    log: list[str],
    ranks: Sequence[RankEnd] = (),
    *,
    rebooted: bool,
) -> data.State:
    """Return a job's final state; with several `ranks`, the first failed one counts. No exit record: lost.

    If the clock was set while it ran, its start is moved so that the elapsed time stays right.
    """
    assert isinstance(job.state, data.Running)
    since = job.state.since if facts is None or facts.ran_s is None else facts.ended - facts.ran_s
    if facts is None and job.asked == "kill":  # its unresponsive keeper was killed with it
        return data.Stopped(time.time(), "kill", since)
    if facts is None:
        text = "the machine restarted" if rebooted else "its process vanished without an exit record"
        return data.Lost(time.time(), text, since, "restarted" if rebooted else "vanished", log)
    is_late = job.asked in ("stop", *PAUSES) and facts.signal == signal.SIGTERM  # it was exiting already
    if last_event is not None and last_event.status == "finished" and (facts.code == 0 or is_late):
        return data.Finished(since=since, ended=facts.ended, cause=last_event.cause)
    if job.asked == "kill":
        return data.Stopped(facts.ended, "kill", since)
    is_silent = last_event is None or last_event.kind == "asked"
    if facts.cause is not None and facts.cause.kind == "cancelled" and is_silent:
        return data.Stopped(facts.ended, "kill" if last_event is None else "stop", since, facts.cause.cause)
    if job.asked == HUNG:
        message, hint = f"hung: {pulse.details(job.state)}", ". ".join(pulse.reasons(job.state))
        return _failed(facts, causes.Cause("hung", message, hint), since, log)
    is_from_outside = last_event is not None and last_event.kind == "asked" and not job.asked
    if last_event is not None and last_event.status == "stopped" and not is_from_outside:
        # a budget or a check ended it, not a request
        is_of_itself = last_event.cause and last_event.kind != "asked"
        return data.Stopped(facts.ended, "stop" if is_of_itself else _how(job), since, last_event.cause)
    is_early = facts.signal == signal.SIGTERM or any(rank.signal == signal.SIGTERM for rank in ranks)
    if job.asked in ("stop", *PAUSES) and is_early:
        return data.Stopped(facts.ended, _how(job), since)
    cause = why_of_ranks(facts, last_event, log, ranks)
    if job.kind.of_others:
        cause = causes.of_another_program(cause)
    if ranks and ranks[0].ended is not None:
        facts = replace(facts, code=ranks[0].ended.exit_code)  # torchrun's own is 1
    return _failed(facts, cause, since, log)


def is_unwatched(facts: Exit) -> bool:
    """Return True if Slurm reports that the job ended but its keeper left no exit record."""
    return facts.code is None and facts.signal is None


def _failed(facts: Exit, cause: causes.Cause, since: float, log: list[str]) -> data.Failed:
    return data.Failed(facts.ended, cause.cause, cause.hint, since, facts.code, facts.signal, cause.kind, log)


def _how(job: Job) -> Literal["stop", "pause"]:
    return "pause" if job.asked in PAUSES else "stop"


@dataclass(frozen=True)
class RankEnd:
    """How a rank ended by itself: its ended event, or the signal that killed it, if torchrun reports that."""

    number: int
    ended: events.Ended | None
    signal: int | None = None


def rank_ends(folder: Path, log: Path) -> list[RankEnd]:
    """Return the ranks that failed by themselves, not because another left them; the first of them first."""
    rank_files = ranks.read(folder)
    tail = _tail(log)
    # torchrun's final report covers more than this node's ranks
    codes = _REPORT.findall(tail) or [(rank, code) for code, rank in _EXIT_CODE.findall(tail)]
    killed = {int(rank): -int(code) for rank, code in codes if int(code) < 0}
    dead = [RankEnd(rank, None, killed.get(rank)) for rank, file in rank_files.items() if file.ended is None]
    failed, causes = [], set()
    for rank, file in sorted(rank_files.items(), key=lambda numbered: numbered[1].at):
        if file.ended is not None and file.ended.status == "failed" and file.ended.kind != "communication":
            failed.append(RankEnd(rank, file.ended))
            causes.add(file.ended.cause)
    if not dead and len(causes) == 1 and len(failed) == len(rank_files):
        return []  # all ranks report the same cause: no single rank is to blame
    # A dead rank without a known signal was ended with the others: on several nodes srun kills all once one fails.
    return [*(end for end in dead if end.signal), *failed, *(end for end in dead if not end.signal)]


def why_of_ranks(
    facts: Exit, last_event: events.Ended | None, log: list[str], ranks: Sequence[RankEnd]
) -> causes.Cause:
    """Return why a job failed, and which of its ranks."""
    if not ranks:
        return why(facts, last_event, log)
    first = ranks[0]
    cause = why(replace(facts, signal=first.signal), first.ended, log)
    if first.ended is None and first.signal is None and facts.signal is not None:
        cause = why(facts, None, log)  # the keeper ended the ranks together with their launcher
        if cause.kind != "killed":
            return cause
        return replace(cause, cause=f"the launcher of the ranks (torchrun or srun) was {cause.cause}")
    if first.ended is None and first.signal is None:
        hint = "It was killed, or its machine went down. See the log."
        cause = causes.Cause("killed", "died without a message", hint)
    if first.ended is not None and first.ended.exit_code != 1:
        return cause  # the recipe, the data or the machine: not specific to this rank
    return replace(cause, cause=f"rank {first.number}: {cause.cause}")


def why(facts: Exit, last_event: events.Ended | None, log: list[str]) -> causes.Cause:
    """Return why a job failed: from the kernel, else the job's message, else the signal, else its log."""
    if facts.cause is not None and (last_event is None or last_event.kind == "asked"):
        return facts.cause
    if _was_out_of_memory(facts, last_event):
        if facts.memory_kill is not None:
            return causes.of_memory_kill(facts.memory_kill, facts.memory_limit_kib)
        message = f"out of memory on this machine{_held(facts)}"
        return causes.Cause("out_of_memory", message, causes.MEMORY)
    if last_event is not None and last_event.status == "stopped":
        hint = f"Not requested through finetop: a user, or the machine shutting down. {last_event.cause}."
        return causes.Cause("killed", "ended by signal 15 from outside, and saved", hint)
    if last_event is not None:
        return causes.Cause(failures.as_kind(last_event.kind), last_event.cause, last_event.hint)
    if facts.signal is not None:
        return _of_signal(facts, log)
    last = log[-1] if log else ""
    return causes.of_lines(log) or causes.Cause("code", f"exited with code {facts.code}", last)


def _was_out_of_memory(facts: Exit, last_event: events.Ended | None) -> bool:
    """Return True if the kernel killed a job's process for lack of memory: by its log, its count, or what it held."""
    if facts.signal != signal.SIGKILL and (
        last_event is None or last_event.kind not in ("", "code", "killed")
    ):
        return False
    if facts.memory_kill is not None:
        return True
    if facts.oom_kills is not None:
        return facts.oom_kills > 0
    return facts.signal == signal.SIGKILL and _held_nearly_all(facts)


def _held_nearly_all(facts: Exit) -> bool:
    return 0 < NEAR * facts.memory_limit_kib < facts.peak_memory_kib


def _held(facts: Exit) -> str:
    if not facts.memory_limit_kib:
        return ""
    held_gib, limit = facts.peak_memory_kib / 2**20, facts.memory_limit_kib / 2**20
    return f": it held {gib(held_gib)} of {gib(limit)} GiB"


def _of_signal(facts: Exit, log: list[str]) -> causes.Cause:
    assert facts.signal is not None
    if crash := failures.CRASHES.get(signal.Signals(facts.signal)):
        if (from_log := causes.of_lines(log)) is not None:
            return from_log
        location = stack_dumps.at_crash(log)
        hint = f"A fault in native code{f', in {location}' if location else ''}. Check if it recurs at the same step."
        if facts.signal == signal.SIGBUS:
            hint = "Often /dev/shm, or the disk below a file that is mapped, is full."
        return causes.Cause("crashed", f"{crash} (signal {facts.signal})", hint)
    hint = "finetop did not send it, and the kernel reports no lack of memory: a user or another program did."
    if _held_nearly_all(facts):
        short = f"The machine's memory may have been short{_held(facts)}"
        hint = f"{short}; then something like earlyoom killed it."
    elif facts.oom_kills is None:
        hint = "finetop did not send it. If the machine ran out of memory, `dmesg` shows it."
    return causes.Cause("killed", f"killed by signal {facts.signal}", hint)


def last_lines(log: Path, facts: Exit | None) -> list[str]:
    """Return the last few lines of a job's log, each shortened; of a progress bar, its last state.

    torchrun's report of a failed rank is left out: the rank's own message stands before it. After a crash in native
    code: the Python frames of the thread that crashed, innermost first.
    """
    lines = _tail(log).strip().split("\n")
    shown = [log_file.newest(line.rstrip()) for line in lines if line.strip()]
    shown = shown[: next((place for place, line in enumerate(shown) if TORCHRUN in line), None)] or shown
    if facts is not None and facts.signal in failures.CRASHES:
        shown = _crash(shown)[:LINES] or shown
    return [line[:LINE_LIMIT] for line in shown[-LINES:]]


def _tail(log: Path) -> str:
    """Read the end of a log; '' if it can't be read."""
    try:
        return end_of(log, READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _crash(lines: list[str]) -> list[str]:
    """Return faulthandler's report at the end of a log: its first line, then the thread that crashed."""
    begins = [place for place, line in enumerate(lines) if line.startswith("Fatal Python error:")]
    if not begins:
        return []
    dump = lines[begins[-1] :]
    current = next((place for place, line in enumerate(dump) if line.startswith("Current thread")), 1)
    return [dump[0], *dump[current:]]
