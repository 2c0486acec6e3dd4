"""Follow a run until it ends: shared by `run --wait`, `tail`, `check` and `demo`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TextIO

from finetop.core.client.connection import Client
from finetop.core.commands.shared.output import queued_words
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Queue, QueueAnswer
from finetop.core.protocol.messages.runs import EventsAnswer, EventsSince, GetRun, StepRow
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.runs import JobRow, RunRow
from finetop.core.runtime.home import Home
from finetop.core.text import number_words
from finetop.core.wording.durations import long_span
from finetop.core.wording.endings import state_word
from finetop.core.wording.queue import waits

LINK_PACE_S = 1.0  # between two requests over a link: each costs some 300 bytes, whatever it holds


class QueuedJob(Protocol):
    """The answer to a request that queued a job of a run."""

    @property
    def run(self) -> str: ...

    @property
    def job_id(self) -> int | None: ...


def new_events(home: Home, name: str, *, after_step: int = -1) -> Iterator[EventsAnswer]:
    """Yield a run's new events until none of its jobs is queued or running; goes on when the supervisor restarts."""
    with Client(home) as client:
        while True:
            new = client.ask(EventsSince(name, after_step))
            if new.steps:
                after_step = new.steps[-1].step
            yield new
            if len(new.steps) == 1000:
                continue
            if not is_live(new.row):
                return
            if home.link is not None:
                time.sleep(LINK_PACE_S)
                if new.steps:
                    continue  # there are more by now: one request, not two
            client.ask(Changes(new.revision, 10.0, name))


ShowJob = Callable[[JobRow, RunRow, QueueAnswer], None]


def is_live(row: data.RunRow) -> bool:
    return isinstance(row.state, data.Queued | data.Running) or row.checking is not None


def until_over(home: Home, name: str, show: Callable[[EventsAnswer], None]) -> data.RunRow:
    """Follow a run to its end, passing new events to `show`. Returns its last row."""
    for new in new_events(home, name):
        show(new)
    return new.row


def until_ended(home: Home, name: str, job_id: int, show: ShowJob) -> JobRow:
    """Follow one job of a run, and the retry that replaces it, until it has ended. Returns its row."""
    looks = 0
    with Client(home) as client:
        revision = client.ask(Changes(0, 0.0)).revision
        while True:
            detail = client.ask(GetRun(name))
            job = next(job for job in detail.jobs if job.id == job_id)
            if not job.is_under_way:
                retry = _next_try(job, detail.jobs)
                if retry is None:
                    return job
                job_id = retry.id
                continue
            show(job, detail.row, client.ask(Queue()))
            looks += 1
            revision = client.ask(Changes(revision, 10.0, name)).revision
            time.sleep(LINK_PACE_S if home.link is not None else min(LINK_PACE_S, 0.05 * looks))


def _next_try(ended: JobRow, jobs: Sequence[JobRow]) -> JobRow | None:
    """Return the job that was queued in place of one that did not finish, or None."""
    later = (job for job in jobs if job.id > ended.id and job.verb == ended.verb and job.is_under_way)
    return None if isinstance(ended.state, data.Finished) else next(later, None)


class JobProgress:
    """Prints what a job waits for and what it does, each text once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: object = None
        self._has_time = False  # whether the printed line has the time left

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def __call__(self, job: JobRow, row: RunRow, queue: QueueAnswer) -> None:
        if isinstance(job.state, data.Running):
            left_s = job.state.left_s
            left = f", about {long_span(left_s)} left" if left_s is not None else ""
            self._show(job.state.phase, f"{phase_line(row)}{left}", has_time=bool(left))
            return
        own_rows = (waits for waits in queue.rows if (waits.run_id, waits.what) == (row.id, job.verb))
        waiting = next(own_rows, None)
        if waiting is not None:  # None: it has begun in the meantime
            key = (waiting.state.place, waiting.state.because, queue.stopped, queue.running)
            line = waits(waiting, queue, time.time())
            self._show(key, line, has_time=waiting.starts_at is not None)

    def _show(self, key: object, line: str, *, has_time: bool) -> None:
        """Print a line once per `key`, and again when the time left becomes known."""
        if key != self._shown or (has_time and not self._has_time):
            self._shown, self._has_time = key, has_time
            self.say(line)


def exit_code(row: data.RunRow) -> int:
    """Return the exit code: 0 done and not forgotten, 1 failed or regressed, 3 no verdict, 2 or 4 from the job."""
    if isinstance(row.state, data.Failed):
        return row.state.exit_code if row.state.exit_code in (2, 4) else 1
    if isinstance(row.state, data.Lost) or (isinstance(row.state, data.Stopped) and row.check is None):
        return 1
    if row.check is None or row.check.verdict == "ok":
        return 0
    return 1 if row.check.verdict == "regressed" else 3


class Progress:
    """Prints a run's steps and phases as lines, each once."""

    def __init__(self, prefix: str = "", *, steps: bool = True) -> None:
        self.prefix = prefix
        self.steps = steps
        self._phase = ""

    def __call__(self, new: EventsAnswer) -> None:
        for step in new.steps if self.steps else []:
            print(f"{self.prefix}{step_line(step, new.row.steps)}", flush=True)
        phase = phase_line(new.row)
        if phase and phase != self._phase:
            self._phase = phase
            print(f"{self.prefix}{phase}", flush=True)


def step_line(step: StepRow, steps: int) -> str:
    values = step.values
    parts = [f"step {step.step:,}" + (f"/{steps:,}" if steps else "")]
    by_reward = "eval_reward" in values  # then eval_loss is only the negative reward
    for key, label, form in (
        ("reward", "reward", ".4f"),
        ("loss", "loss", ".4f"),
        ("eval_reward", "eval reward", ".4f") if by_reward else ("eval_loss", "eval", ".4f"),
        ("grad_norm", "grad", ".3f"),
        ("learning_rate", "lr", ""),
        ("tokens_per_s", "tok/s", ",.0f"),
        ("drift", "drift", ".3f"),
    ):
        if key in values:
            value = values[key]
            value_text = "" if value is None else format(value, form) if form else number_words(value, 3)
            parts.append(f"{label} {value_text or 'not finite'}")
    return "  ".join(parts)


def phase_line(row: data.RunRow) -> str:
    """Return what a run does now, without counts, so that each phase is one line."""
    state = row.state
    if isinstance(state, data.Queued):
        return queued_words(state)
    if isinstance(state, data.Running):
        return state.phase if state.phase != "training" else f"training, {row.steps} steps"
    if isinstance(row.checking, data.Queued):
        return f"check {queued_words(row.checking)}"
    if isinstance(row.checking, data.Running):
        return f"check: {row.checking.phase}"
    return state_word(state)


def until_done(home: Home, queued: QueuedJob, *, quiet: bool) -> data.JobRow:
    """Wait for the end of a job, of its last try if it is tried again, printing its phases. Returns the job."""
    shown, revision, job_id = "", 0, queued.job_id
    with Client(home) as client:
        while True:
            jobs = client.ask(GetRun(queued.run)).jobs
            job: data.JobRow = next(job_row for job_row in jobs if job_row.id == job_id)
            if (again := next_try(job, jobs)) is not None:
                if not quiet:
                    print(f"{getattr(job.state, 'cause', 'it failed')}; it is tried again", flush=True)
                job_id, shown = again.id, ""
                continue
            if not job.is_under_way:
                return job
            phase = job.state.phase if isinstance(job.state, data.Running) else "queued"
            if phase != shown and not quiet:
                print(phase, flush=True)
                shown = phase
            revision = client.ask(Changes(revision, 10.0)).revision


def next_try(job: data.JobRow, jobs: Sequence[data.JobRow]) -> data.JobRow | None:
    """Return the job that tries a failed one again, which was queued with its end; None if there is none."""

    def wanted(args: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in args.items() if key != "retry"}

    if not isinstance(job.state, data.Failed | data.Lost):
        return None
    later = (
        other for other in jobs if other.id > job.id and other.verb == job.verb and "retry" in other.args
    )
    return next((other for other in later if wanted(other.args) == wanted(job.args)), None)
