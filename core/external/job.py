"""The job of a command: another training program, started without a shell, its output in the job's log.

It has the log as its own output, so a step of it costs nothing more. Meanwhile this process reads its numbers, once a
second, and asks it to stop when the job is asked to. What the program leaves running ends with the job (keeper.py).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.external import reading
from finetop.core.external.client import METRICS
from finetop.core.external.looks import LEFT_S, Looks
from finetop.core.protocol.events import SKIPPED_OUTPUT, Alarm, Ended, Phase
from finetop.core.recipe import command as commands
from finetop.core.runtime import causes, failures, processes
from finetop.core.runtime.files import end_of
from finetop.core.runtime.job_process import attempt_of, users_environment
from finetop.core.runtime.kernel_log import memory_kill_of
from finetop.core.train.resume.earlier_jobs import hours_used_up, read_earlier_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.recipe.job import Job
    from finetop.core.recipe.schema import Command

PACKAGES = ("finetop",)
NOT_IN_TIME = f"its last numbers could not be read within {LEFT_S:.0f} s, and are left out"
IF_STOPPED = "asked to stop before the command began"
WAIT_S = 0.2
TAIL_BYTES = 16 << 10  # of the log, to find out why it failed
GPUS = "CUDA_VISIBLE_DEVICES"
# Of the shell that queued it, in command.env; a supervisor that another shell started must not decide.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_BAR = re.compile(r"[^|]*\b\d+%\|")
TRACEBACK = "Traceback (most recent call last):"


def work(job: Job) -> Ended:
    """Run the command to its end. Raises BadInput if it can't be started."""
    recipe = job.recipe()
    command = recipe.command
    assert command is not None
    gpus = os.environ.get(GPUS, "")
    reading.finish(job)  # of an earlier attempt in this folder
    job.started(f"GPU {gpus}" if gpus else "cpu", "", PACKAGES)
    spent_before_s = read_earlier_jobs(job.run_folder, job.folder).spent_s

    def used_up(spent_s: float) -> str:
        return hours_used_up(recipe.budget.hours, spent_before_s + spent_s)

    if used := used_up(0.0):
        hint = "All attempts count. Queue the command again, with a larger --set budget.hours=N."
        raise BadInput(f"{used}.", hint=hint)
    attempt = attempt_of(job.folder)
    goes_on = bool(job.args.get("again")) or attempt > 1
    environment = environment_of(command, job.folder)
    job.stop.is_training = True  # a stop request is passed on, not raised
    job.stop.answer = (
        f"asked to stop: the command gets {command.stop_signal}, and {command.grace_s:g} s to end"
    )
    job.events.write(Phase("training"))
    begun = reading.begin(
        job, attempt=attempt, goes_on=goes_on, environment=environment, spent_before_s=spent_before_s
    )
    looks, began = Looks(begun.read_new), time.time()
    try:
        child = start(command, environment, resumed=goes_on)
        begun.note(child.pid)
        end = follow(child, command, job, looks, used_up)
        if end.status == "failed" and (kill := memory_kill_of(begun.numbers.processes, began)) is not None:
            cause = causes.of_another_program(causes.of_memory_kill(kill))
            end = Ended("failed", cause.cause, cause.hint, 1, cause.kind)
    finally:
        if not looks.look_at_last():
            begun.leave()
            print(f"finetop: {NOT_IN_TIME}", flush=True)
            job.events.write(Alarm(SKIPPED_OUTPUT, begun.numbers.step, NOT_IN_TIME))
    if end.status == "finished" and not isfinite(begun.alarms.loss):
        output = commands.output_of(command)
        end = not_finite(begun.alarms.loss, begun.numbers.step, str(output or "its output folder"))
    if begun.numbers.read:
        print(f"finetop: read its numbers from {', '.join(sorted(begun.numbers.read))}", flush=True)
    return end


def not_finite(loss: float, step: int, output: str) -> Ended:
    """Return the end of a program that left without an error, but whose last loss was NaN or infinite."""
    hint = f"Lower its learning rate. Its model is not checked; if you want that: finetop import {output}."
    return Ended("failed", f"the loss is {loss} at its last step, {step:,}", hint, 1, "nan")


def start(command: Command, environment: dict[str, str], *, resumed: bool) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own. Raises BadInput that says why it can't be."""
    words = commands.argv(command, resumed=resumed)
    try:
        return subprocess.Popen(
            words,
            cwd=command.workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=processes.die_with(os.getpid()),
        )
    except OSError as error:
        missing = command.workdir if not Path(command.workdir).is_dir() else words[0]
        raise BadInput(
            f"command: can't start {missing}: {error.strerror or error}.",
            hint="Check the program's name, its PATH (command.env) and command.workdir.",
        ) from error


def environment_of(command: Command, job_folder: Path) -> dict[str, str]:
    of_user = {key: value for key, value in users_environment().items() if key not in THREADS}
    return {
        **of_user,
        "PYTHONUNBUFFERED": "1",  # what it prints is read while it runs
        METRICS: str(job_folder / "metrics.jsonl"),  # where finetop.log writes to
        **commands.environment(command),
    }


def follow(
    child: subprocess.Popen[bytes],
    command: Command,
    job: Job,
    looks: Looks,
    used_up: Callable[[float], str],
) -> Ended:
    """Wait for the command, reading its numbers, and return how it ended."""
    began = time.monotonic()
    asked_at: float | None = None
    killed = False
    while (code := exit_code(child)) is None:
        now = time.monotonic()
        job.stop.reason = job.stop.reason or used_up(now - began)
        if job.stop.reason and asked_at is None:
            asked_at = now
            signal_group(child, signal.Signals[command.stop_signal])
        if asked_at is not None and now - asked_at >= command.grace_s and not killed:
            killed = True
            print(f"finetop: it has not ended after {command.grace_s:g} s, and is killed", flush=True)
            processes.kill([child.pid, *processes.descendants(child.pid)])
        looks.look()
    if job.stop.reason:
        return Ended("stopped", job.stop.reason, kind="asked" if job.stop.is_asked else "")
    return ending(code, job.folder / "log.txt")


def exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """Wait a moment for a process to end; None if it still runs."""
    try:
        return child.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        return None


def signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the command and all of its process group, as Ctrl-C would."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:  # it has ended, or is in another group now
        child.send_signal(number)
    except PermissionError:
        print("finetop: it belongs to another user now, and can't be asked to stop", flush=True)


def ending(code: int, log: Path) -> Ended:
    """Return how a command ended by itself: why it failed is in its last lines, if they say."""
    if code == 0:
        return Ended("finished")
    sys.stdout.flush()
    try:
        text = end_of(log, TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        text = ""  # the command has deleted it
    lines = of_program([line for line in text.splitlines() if line.strip()])
    cause, exit_code = causes.of_lines(lines), code if code > 0 else 1
    if cause is not None:
        hint = causes.of_another_program(cause).hint
        return Ended("failed", cause.cause, hint, exit_code, cause.kind)
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    last = lines[-1].strip()[: failures.LONGEST] if lines else "It printed nothing."
    return Ended("failed", f"the command {how}", last, exit_code, "killed" if code < 0 else "code")


def of_program(lines: list[str]) -> list[str]:
    """Return lines without what hides why the program failed: a last progress bar, the traceback of accelerate."""
    lines = [line for line in lines if not _BAR.match(line)] or lines
    if not lines or not lines[-1].startswith("subprocess.CalledProcessError: "):
        return lines
    begin = max((at for at, line in enumerate(lines) if line == TRACEBACK), default=0)
    return lines[:begin] or lines
