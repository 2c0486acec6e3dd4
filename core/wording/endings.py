"""How runs end, in words: the questions before ending one, and the state afterwards.

Questions come before what can't be undone: stop, kill, move to the trash, empty the trash. Pause and hold can be
undone, so they don't ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetop.core.protocol.runs import RunDetail, Running, State, Stopped, word
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import jobs
from finetop.core.wording.durations import long_span

_ENDED = {"stop": "stopped", "kill": "killed", "cancel": "removed from the queue", "pause": "paused"}
GOES_ON = "Its program goes on."


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A question, and the effect of a yes: 'Stop support-r16?', 'It saves step 820 first.'."""

    question: str
    effect: str

    def __str__(self) -> str:
        return f"{self.question}  {self.effect}".rstrip()


def state_word(state: State) -> str:
    """Return a state's name; for a run that was ended on request, how it was ended."""
    return _ENDED[state.how] if isinstance(state, Stopped) else word(state)


def stop_confirmation(detail: RunDetail, name: str = "") -> Confirmation:
    """Return the question before all jobs of a run are stopped or removed from the queue, with what is kept."""
    row = detail.row
    jobs_to_end = jobs.under_way(row)
    named = jobs.named(name or clean_line(row.name), jobs_to_end)
    main_job = next((job for job in jobs_to_end if job.kind.reports_steps), None)
    if not any(isinstance(job.state, Running) for job in jobs_to_end):
        stays = f"It stays at step {count(row.step)}." if row.step else "Nothing of it has run yet."
        return Confirmation(f"Remove {named} from the queue?", stays if main_job else jobs.kept(jobs_to_end))
    if main_job is None or not isinstance(main_job.state, Running):
        return Confirmation(f"Stop {named}?", jobs.kept(jobs_to_end))
    if main_job.kind.only_watches:
        return Confirmation(f"Stop watching {named}?", GOES_ON)
    saves = f"It saves step {count(row.step)} first." if row.step else "It has no step to save yet."
    return Confirmation(f"Stop {named}?", saves if main_job.kind.trains_here else _signalled(detail.recipe))


def _signalled(recipe: Mapping[str, Any]) -> str:
    """Return how a command is asked to end: 'It gets SIGTERM, and 60 s to end.'."""
    command = recipe.get("command") or {}
    seconds = command.get("grace_s", 0.0)
    time = f"{seconds:g} s" if seconds < 600 else long_span(seconds)
    return f"It gets {command.get('stop_signal', 'SIGTERM')}, and {time} to end."


def kill_confirmation(detail: RunDetail, name: str = "") -> Confirmation:
    """Return the question before a run is killed; if all its jobs wait, that of a stop."""
    row = detail.row
    jobs_to_end = jobs.under_way(row)
    if not any(isinstance(job.state, Running) for job in jobs_to_end):
        return stop_confirmation(detail, name)
    saved = max((checkpoint.step for checkpoint in detail.checkpoints), default=0)
    kept = f"step {count(saved)} is saved" if saved else "nothing is saved"
    named = jobs.named(name or clean_line(row.name), jobs_to_end)
    kind = next((job.kind for job in jobs_to_end if job.kind.reports_steps), None)
    if kind is None:
        lost = jobs.kept(jobs_to_end)
    elif kind.only_watches:
        return stop_confirmation(detail, name)
    elif kind.is_command:
        lost = "What its program has not saved is lost."
    else:
        lost = f"{counted(max(0, row.step - saved), 'step')} lost: {kept}."
    return Confirmation(f"Kill {named}?", lost)


def trash_confirmation(names: Sequence[str], size: str) -> Confirmation:
    """Return the question before runs go to the trash."""
    what = names[0] if len(names) == 1 else counted(len(names), "run")
    return Confirmation(f"Move {what} to the trash?", size)
