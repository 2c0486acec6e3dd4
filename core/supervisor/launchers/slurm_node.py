"""The keeper of a job in Slurm: what its batch script becomes, on the node.

    python -m finetop.core.supervisor.launchers.slurm_node JOB_FOLDER ATTEMPT COMMAND…

It is a keeper (runtime/keeper.py) with a door: what is asked for stands in asked.json, as no signal reaches it from
another machine. Slurm's own SIGTERM (its time limit is near, or the job is preempted) makes the job save and exit, and
what the exit record then says is not the end: the job is queued again under the same number. Started once more, it
goes on from the run's newest whole checkpoint, in the same folder and the same events.

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
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime import keeper, processes, ranks
from finetop.core.runtime.files import end_of, retry_file_work, write_whole
from finetop.core.runtime.job_folder import read_spec, run_folder_of
from finetop.core.supervisor.launchers import resume_point, slurm_record
from finetop.core.supervisor.launchers.local import exit_of, nodes_of, ranks_of, record_of, usage_of

if TYPE_CHECKING:
    from collections.abc import Callable

NEAR_S = 330.0  # to the time limit: Slurm's signal comes 300 s before it
REQUEUE_S = 90.0  # in which a controller that does not answer is asked again
AGAIN_S = 5.0
STEPS_S = 60.0  # for what srun has left on the nodes to be gone; then Slurm ends it with the job
USAGE_S = 10.0  # between two records of what the job uses
MOST_STARTS = 20  # of a job that has no checkpoints, by its time limit
TAIL_BYTES = 64 << 10  # of the events, to find the last word in

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
    wish = retry_file_work(lambda: slurm_record.asked(folder, attempt)).what
    if wish in ("stop", "kill"):
        number = signal.SIGTERM if wish == "stop" else signal.SIGKILL
        keeper.write_json(folder / "exit.json", not_started(attempt, number))
        return leave(f"asked to {wish} before it began")
    if retry_file_work(lambda: record_of(folder, attempt)) is not None:
        ranks.clear(folder)  # what those of the last start said is not of this one
        retry_file_work(lambda: go_on(folder))
    (folder / "exit.json").unlink(missing_ok=True)
    node.began_at = newest_step(folder)
    if nodes_of(folder) == 1:  # of several, each counts its own cores
        os.environ.update(ranks.launch_environment(ranks_of(folder)))
    keeper.become_subreaper()
    keeper.start(command, folder, attempt, node)
    node.requeue()
    return node.code


def leave(why: str) -> int:
    """Say in Slurm's own output why there is nothing to do: code 0, so that Slurm does not start it again."""
    print(f"finetop: {why}: nothing to do", flush=True)
    return 0


def not_started(attempt: int, number: int) -> dict[str, Any]:
    """Return the exit record of an attempt that was ended before it began."""
    return {"attempt": attempt, "code": None, "signal": int(number), "ended": time.time(), "ran_s": 0.0}


def go_on(folder: Path) -> None:
    """Tell a training job that has begun before to go on from the run's newest whole checkpoint. Raises OSError."""
    spec = read_spec(folder)
    if spec.verb != "train":
        return  # it begins anew; what was scored is kept
    run_folder = run_folder_of(folder)
    try:
        step, place = resume_point.choose(run_folder, spec.run_name, None)
    except FinetopError:
        return  # its checkpoints have no trainer's state: it begins where it did
    before = spec.args.get("resume", {})
    if place is None and before:
        return  # it has saved nothing: it begins where it did
    args = resume_point.resume_args(run_folder, step, place, anyway=before.get("anyway", False))
    # its steps have the rows of its own ranks, unless it went on with another's
    args["resume"]["began"] = before.get("began", not before.get("step"))
    args = {**spec.args, **args, "changes": spec.args.get("changes", [])}
    changed: JobSpec = msgspec.structs.replace(spec, args=args)
    write_whole(folder / "job.json", msgspec.json.encode(changed))


def newest_step(folder: Path) -> int:
    """Return the step of the run's newest whole checkpoint; 0 without one."""
    try:
        return resume_point.choose(run_folder_of(folder), "", None)[0]
    except (FinetopError, OSError):
        return 0


def last_word(folder: Path) -> events.Ended | None:
    """Read what a job said of its own end; None if the last line says nothing of it."""
    try:
        line = end_of(folder / "events.jsonl", TAIL_BYTES).strip().rpartition(b"\n")[2]
        event = events.decode(line).e
    except (OSError, events.Unreadable):
        return None
    return event if isinstance(event, events.Ended) else None


class Node:
    """The keeper's door: what it is asked for, and what Slurm wants of it."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.began_at = 0  # the newest checkpoint when it began
        self.code = 0  # that Slurm is told
        self._folder, self._attempt = folder, attempt
        self._job: int | None = None
        self._ask_to_stop: Callable[[], None] = lambda: None
        self._is_told = False  # by Slurm, to end
        self._seen = 0  # the number of the last wish
        self._wish = ""
        self._goes_on = False
        self._told_at = -USAGE_S  # when the usage was last written (monotonic)

    def on_term(self, number: int, frame: FrameType | None) -> None:
        """Pass Slurm's signal on: the job saves a checkpoint and exits."""
        self._is_told = True
        self._ask_to_stop()

    def begin(self, job: int, ask_to_stop: Callable[[], None]) -> None:
        """Take notice of the process that is kept, and of how it is asked to stop."""
        self._job, self._ask_to_stop = job, ask_to_stop
        if self._is_told:
            ask_to_stop()

    def look(self) -> None:
        """Do what is asked for since the last look."""
        if self._job is None:
            return
        self._tell_usage(self._job)
        try:
            wish = slurm_record.asked(self._folder, self._attempt)
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
        """Write down what the job uses, from time to time: who judges its silence is on another machine."""
        if time.monotonic() - self._told_at < USAGE_S:
            return
        self._told_at = time.monotonic()
        usage = usage_of(os.getpid(), job, processes.look())
        try:
            write_whole(self._folder / slurm_record.USAGE, msgspec.json.encode(usage))
        except OSError:
            return  # a full disk; the next look tries again

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return an exit record with what only Slurm's side of it knows: whether it goes on, and why it was ended."""
        facts = {**facts, "host": platform.node()}
        self.code = int(facts["code"] != 0)
        has_nodes = nodes_of(self._folder) > 1
        if has_nodes and facts["code"] is None:
            end_steps()  # srun was killed, and has left its processes on all nodes
        if not self._is_told or self._wish:
            return facts  # by itself, or as finetop asked
        said = last_word(self._folder)
        if said is not None:
            is_cut_short = said.status == "stopped" and said.kind == "asked"
        else:  # srun's code says nothing of who was killed
            is_cut_short = facts["signal"] in (signal.SIGTERM, signal.SIGKILL) or (
                has_nodes and facts["code"] != 0
            )
        if not is_cut_short:
            return facts
        why: Why = "time_limit" if left_s() < NEAR_S else "preempted"
        self._goes_on = why == "preempted" or self._has_moved()
        self.code = 0
        return {**facts, "goes_on": self._goes_on, "why": why}

    def _has_moved(self) -> bool:
        """Say whether one more start brings it further: else it would reach its time limit for ever."""
        if read_spec(self._folder).verb == "train":
            return newest_step(self._folder) > self.began_at
        return int(os.environ.get("SLURM_RESTART_COUNT", "0")) < MOST_STARTS

    def requeue(self) -> None:
        """Have the job queued again, unless Slurm does that, or somebody has cancelled it."""
        job = os.environ.get("SLURM_JOB_ID")
        if self._goes_on and job is not None:
            print(f"finetop: {requeued(job)}", flush=True)


def requeued(job: str) -> str:
    """Have a job of Slurm queued again that still runs; returns what became of it."""
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
    """Kill what a step of this job of Slurm still runs on its nodes, and wait until it is gone."""
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
    """Say how long it is to the job's time limit."""
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) - time.time() if end.isdecimal() else float("inf")


def answer_of(*words: str) -> str | None:
    """Call one of Slurm's commands; None where that fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
