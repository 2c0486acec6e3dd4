"""The keeper of a job in Slurm, which its batch script starts on the node.

    python -m finetop.core.supervisor.launchers.slurm_node JOB_FOLDER ATTEMPT COMMAND…

It is a keeper (runtime/keeper.py) with a door: it reads requests from asked.json, as no signal reaches it from another
machine. Slurm's own SIGTERM (its time limit is near, or the job is preempted) makes the job save and exit. Its exit
record then is not the end: Slurm queues the job again under the same number. Started once more, it goes on from the
run's newest whole checkpoint, in the same folder and the same events.

On several nodes the keeper is on the first one, with srun below it; torchrun and the ranks are children of Slurm's own
daemons, on each node. Those of its own node are asked to stop, and the others agree; to kill all, srun is asked.

What holds for every launcher holds here: who does not get the job's lock, or is of an attempt that was given up or has
ended, leaves. So a job that Slurm starts twice does its work once.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime import keeper, processes, ranks
from finetop.core.runtime.files import end_of, retry_file_work, write_whole
from finetop.core.runtime.job_folder import read_spec, run_folder_of
from finetop.core.supervisor.launchers import resume_point, slurm_record
from finetop.core.supervisor.launchers.local import exit_of, nodes_of, ranks_of, record_of, usage_of

NEAR_S = 330.0  # to the time limit: Slurm's signal comes 300 s before it
REQUEUE_S = 90.0  # time limit for retrying a controller that does not answer
AGAIN_S = 5.0
STEPS_S = 60.0  # for processes that srun left on the nodes to end; after that Slurm ends them with the job
USAGE_S = 10.0  # between two records of what the job uses
MOST_STARTS = 20  # limit on starts of a job that has no checkpoints
TAIL_BYTES = 64 << 10  # of the events, searched for the last message

Why = Literal["", "preempted", "time_limit"]


def main() -> int:
    os.umask(0o077)
    folder, attempt, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    node = Node(folder, attempt)
    signal.signal(signal.SIGTERM, node.on_term)
    lock = retry_file_work(lambda: keeper.take_lock(folder / "lock"))
    if lock is None:
        return leave("another process has this job")
    if retry_file_work(lambda: keeper.wanted_attempt(folder)) != attempt:
        return leave(f"attempt {attempt} was given up")
    ended = retry_file_work(lambda: exit_of(folder, attempt))
    if ended is not None and not ended.goes_on:
        return leave(f"attempt {attempt} has ended")
    wish = retry_file_work(lambda: slurm_record.latest_request(folder, attempt)).what
    if wish in ("stop", "kill"):
        number = signal.SIGTERM if wish == "stop" else signal.SIGKILL
        keeper.write_json(folder / "exit.json", not_started(attempt, number))
        return leave(f"asked to {wish} before it began")
    if retry_file_work(lambda: record_of(folder, attempt)) is not None:
        ranks.clear(folder)  # files of the last start's ranks are stale
        retry_file_work(lambda: go_on(folder))
    (folder / "exit.json").unlink(missing_ok=True)
    node.began_at = newest_step(folder)
    if nodes_of(folder) == 1:  # on several nodes, each counts its own cores
        os.environ.update(ranks.launch_environment(ranks_of(folder)))
    keeper.become_subreaper()
    keeper.start(command, folder, attempt, node)
    node.requeue()
    return node.code


def leave(reason: str) -> int:
    """Report in Slurm's output why there is nothing to do; return 0, so that Slurm does not restart it."""
    print(f"finetop: {reason}: nothing to do", flush=True)
    return 0


def not_started(attempt: int, number: int) -> dict[str, Any]:
    """Return the exit record of an attempt that was ended before it began."""
    return {"attempt": attempt, "code": None, "signal": int(number), "ended": time.time(), "ran_s": 0.0}


def go_on(folder: Path) -> None:
    """Make a restarted training job resume from the run's newest complete checkpoint. Raises OSError."""
    spec = read_spec(folder)
    if not spec.kind.trains_here:
        return  # it starts over; existing scores are kept
    run_folder = run_folder_of(folder)
    try:
        step, place = resume_point.choose(run_folder, spec.run_name, None)
    except FinetopError:
        return  # its checkpoints have no trainer state: it starts where it did
    before = spec.args.get("resume", {})
    if place is None and before:
        return  # it saved nothing: it starts where it did
    args = resume_point.resume_args(run_folder, step, place, anyway=before.get("anyway", False))
    # its steps used the rows of its own ranks, unless it resumed from another run's
    args["resume"]["began"] = before.get("began", not before.get("step"))
    args = {**spec.args, **args, "changes": spec.args.get("changes", [])}
    changed: JobSpec = msgspec.structs.replace(spec, args=args)
    write_whole(folder / "job.json", msgspec.json.encode(changed))


def newest_step(folder: Path) -> int:
    """Return the step of the run's newest complete checkpoint; 0 without one."""
    try:
        return resume_point.choose(run_folder_of(folder), "", None)[0]
    except (FinetopError, OSError):
        return 0


def last_word(folder: Path) -> events.Ended | None:
    """Return a job's own ended event, or None if the last line is something else."""
    try:
        line = end_of(folder / "events.jsonl", TAIL_BYTES).strip().rpartition(b"\n")[2]
        event = events.decode(line).e
    except (OSError, events.Unreadable):
        return None
    return event if isinstance(event, events.Ended) else None


class Node:
    """The keeper's side for requests: from finetop and from Slurm."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.began_at = 0  # newest checkpoint at the start
        self.code = 0  # exit code for Slurm
        self._folder, self._attempt = folder, attempt
        self._job: int | None = None
        self._ask_to_stop: Callable[[], None] = lambda: None
        self._is_told = False  # Slurm requested the end
        self._seen = 0  # the number of the last request
        self._wish = ""
        self._goes_on = False
        self._told_at = -USAGE_S  # when the usage was last written (monotonic)

    def on_term(self, number: int, frame: FrameType | None) -> None:
        """Pass Slurm's signal on: the job saves a checkpoint and exits."""
        self._is_told = True
        self._ask_to_stop()

    def begin(self, job: int, ask_to_stop: Callable[[], None]) -> None:
        """Set the process that is kept and the function that asks it to stop."""
        self._job, self._ask_to_stop = job, ask_to_stop
        if self._is_told:
            ask_to_stop()

    def handle_requests(self) -> None:
        """Carry out new requests."""
        if self._job is None:
            return
        self._tell_usage(self._job)
        try:
            wish = slurm_record.latest_request(self._folder, self._attempt)
        except OSError:
            return  # the next look sees it
        if wish.number == self._seen:
            return
        self._seen = wish.number
        if wish.what in ("stop", "kill"):
            self._wish = wish.what
        if wish.what == "stop":
            self._ask_to_stop()
        elif wish.what:
            os.kill(os.getpid(), keeper.SIGNALS[wish.what])

    def _tell_usage(self, job: int) -> None:
        """Write the job's usage from time to time: the supervisor that judges its silence is on another machine."""
        if time.monotonic() - self._told_at < USAGE_S:
            return
        self._told_at = time.monotonic()
        usage = usage_of(os.getpid(), job, processes.snapshot())
        try:
            write_whole(self._folder / slurm_record.USAGE, msgspec.json.encode(usage))
        except OSError:
            return  # a full disk; the next look tries again

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Add to an exit record what only Slurm's side knows: whether the job goes on, and why it was ended."""
        facts = {**facts, "host": platform.node()}
        self.code = int(facts["code"] != 0)
        has_nodes = nodes_of(self._folder) > 1
        if has_nodes and facts["code"] is None:
            end_steps()  # srun was killed and left its processes on all nodes
        if not self._is_told or self._wish:
            return facts  # it ended by itself, or at finetop's request
        last_event = last_word(self._folder)
        # srun's code does not show which process was killed
        is_killed = facts["signal"] in (signal.SIGTERM, signal.SIGKILL) or (has_nodes and facts["code"] != 0)
        is_asked = last_event is not None and (last_event.status, last_event.kind) == ("stopped", "asked")
        if not (is_killed if last_event is None else is_asked):
            return facts
        reason: Why = "time_limit" if left_s() < NEAR_S else "preempted"
        self._goes_on = reason == "preempted" or self._has_moved()
        self.code = 0
        return {**facts, "goes_on": self._goes_on, "why": reason}

    def _has_moved(self) -> bool:
        """Return True if another start would make progress; otherwise it would hit its time limit for ever."""
        spec = read_spec(self._folder)
        if spec.kind.trains_here:
            return newest_step(self._folder) > self.began_at
        if spec.kind.is_command and not (spec.recipe.get("command") or {}).get("resume_command"):
            return False  # it would start over
        return int(os.environ.get("SLURM_RESTART_COUNT", "0")) < MOST_STARTS

    def requeue(self) -> None:
        """Queue the job again, unless Slurm does so or a user cancelled it."""
        job = os.environ.get("SLURM_JOB_ID")
        if self._goes_on and job is not None:
            print(f"finetop: {requeued(job)}", flush=True)


def requeued(job: str) -> str:
    """Queue a Slurm job that still runs again; return a message with the outcome."""
    deadline = time.monotonic() + REQUEUE_S
    while time.monotonic() < deadline:
        state = answer_of("squeue", "--noheader", "--jobs", job, "--format=%T")
        if state is not None and state.strip() != "RUNNING":
            return f"Slurm says {state.strip() or 'nothing'} of job {job}"
        if state is not None and answer_of("scontrol", "requeue", job) is not None:
            return f"job {job} is queued again"
        time.sleep(AGAIN_S)
    return f"job {job} could not be queued again: the supervisor does that"


def end_steps() -> None:
    """Kill what this Slurm job's steps still run on its nodes, and wait until they are gone."""
    job = os.environ.get("SLURM_JOB_ID")
    deadline = time.monotonic() + STEPS_S
    while job is not None and time.monotonic() < deadline:
        listed = answer_of("squeue", "--noheader", "--steps", "--jobs", job, "--format=%i")
        steps = [step for step in (listed or "").split() if step.rpartition(".")[2].isdecimal()]
        if listed is not None and not steps:
            return
        if steps:
            answer_of("scancel", "--signal=KILL", *steps)
        time.sleep(1.0)


def left_s() -> float:
    """Return the seconds until the job's time limit."""
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) - time.time() if end.isdecimal() else float("inf")


def answer_of(*command: str) -> str | None:
    """Run a Slurm command and return its output, or None if it fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
