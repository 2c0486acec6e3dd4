"""What the earlier jobs of a run reported, read from their event files: its data, checks and evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.protocol import events
from finetop.core.runtime.job_folder import read_spec

# Only lines with a mark are decoded: a run of a million steps has a million others.
STARTED = b'"type":"started"'
TYPES = (b'"type":"data"', b'"type":"planned"', b'"type":"verdict"', b'"type":"resumed"')
MARKS = (*TYPES, b'"eval_loss"', b'"spent_s"', b'"energy_wh"')


@dataclass
class EarlierJobs:
    """What still holds of those reports: steps after one that was resumed from are void."""

    data: dict[str, str] = field(default_factory=dict)  # source -> fingerprint, of the newest training job
    verdicts: dict[int, dict[str, Any]] = field(default_factory=dict)  # step -> result of its check
    eval_losses: dict[int, float] = field(default_factory=dict)
    eval_rewards: dict[int, float] = field(default_factory=dict)
    spent_s: float = 0.0  # of training, by all jobs
    energy_wh: float = 0.0  # of their GPUs, if they reported it
    claims: int = 0  # claims made so far, including those on removed checkpoints
    dtype: str = ""  # of the newest training job; empty if none reports it
    ranks: int = 1  # of the job that began the run: they determine the rows per step


def read_earlier_jobs(run_folder: Path, job_folder: Path) -> EarlierJobs:
    """Read what a run's jobs reported before the newest start of the one in `job_folder`, which may have restarted."""
    earlier = EarlierJobs()
    for folder in sorted((run_folder / "jobs").glob("*")):
        if folder.name > job_folder.name:
            break
        is_training = folder.name.endswith("-train")
        data: dict[str, str] = {}
        is_own = folder.name == job_folder.name
        for event in _events(folder / "events.jsonl", before_start=is_own):
            if isinstance(event, events.DataRead):
                data[event.source] = event.fingerprint
            else:
                _add(earlier, event, is_training)
        if is_training and data:
            earlier.data = data
        if is_training:
            earlier.ranks = _ranks_of(folder) or earlier.ranks
    return earlier


def hours_used_up(hours: float | None, spent_s: float) -> str:
    """Return that a budget's hours are used up, or an empty string while they are not."""
    spent = spent_s / 3600
    if hours is None or spent < hours:
        return ""
    unit = "hour" if f"{spent:.3g}" == "1" else "hours"
    return f"budget.hours ({hours:g}) is used up: trained for {spent:.3g} {unit}"


def _ranks_of(job_folder: Path) -> int | None:
    """Return the number of processes of a job that began a run or restarted it; None for one that resumed it."""
    try:
        spec = read_spec(job_folder)
    except (OSError, msgspec.DecodeError):
        return None
    resume = spec.args.get("resume") or {}
    return None if resume.get("step") and not resume.get("began") else spec.ranks


def fingerprints(job_folder: Path) -> dict[str, str]:
    """Return the fingerprints of the data that a job has read, by source."""
    read = [event for event in _events(job_folder / "events.jsonl") if isinstance(event, events.DataRead)]
    return {event.source: event.fingerprint for event in read}


def _add(earlier: EarlierJobs, event: events.Event, is_training: bool) -> None:
    if isinstance(event, events.Resumed):
        earlier.verdicts = {step: result for step, result in earlier.verdicts.items() if step <= event.step}
        for values in (earlier.eval_losses, earlier.eval_rewards):
            for step in [step for step in values if step > event.step]:
                del values[step]
    elif isinstance(event, events.Verdict):
        if not event.result.get("watch"):
            earlier.claims = max(earlier.claims, int(event.result.get("claim", 0)))
        if is_training and event.step is not None:
            earlier.verdicts[event.step] = event.result
    elif isinstance(event, events.Planned):
        earlier.dtype = event.dtype if is_training else earlier.dtype
    elif isinstance(event, events.Phase):
        earlier.spent_s = event.spent_s or earlier.spent_s
    elif isinstance(event, events.Metrics):
        earlier.energy_wh = event.values.get("energy_wh") or earlier.energy_wh
        for name, values in (("eval_loss", earlier.eval_losses), ("eval_reward", earlier.eval_rewards)):
            if name in event.values:
                value = event.values[name]
                values[event.step] = math.nan if value is None else value


def _events(file: Path, *, before_start: bool = False) -> Iterator[events.Event]:
    """Yield the events that matter; with `before_start` those before the job's newest start, none without one."""
    try:
        opened = file.open("rb")
    except FileNotFoundError:
        return
    with opened:
        left = sum(STARTED in line for line in opened) if before_start else -1
        opened.seek(0)
        for line in opened:
            left -= STARTED in line
            if not left:
                return
            if not any(mark in line for mark in MARKS):
                continue
            try:
                yield events.decode(line).e
            except events.Unreadable:
                continue  # cut by a crash; the store counts such lines
