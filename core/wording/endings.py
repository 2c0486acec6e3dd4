"""How runs end, in words, the same in the app and on the command line: what is asked before one does, and how it did.

Asked is before what can't be taken back: to stop, to kill, to move to the trash and to empty it. To pause and to hold
can be: they are not asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetop.core.protocol.runs import Queued, RunDetail, Running, RunRow, State, Stopped, word
from finetop.core.text import clean_line, count, counted

_ENDED = {"stop": "stopped", "kill": "killed", "cancel": "taken out of the queue", "pause": "paused"}
_ENDING = {"stop": "stopping", "kill": "killing", "pause": "pausing"}


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, and what a yes does: 'Stop support-r16?', 'It saves step 820 first.'."""

    question: str
    effect: str

    def __str__(self) -> str:
        return f"{self.question}  {self.effect}".rstrip()


def state_word(state: State) -> str:
    """Name a state as people read it: of a run that was ended on request, how."""
    return _ENDED[state.how] if isinstance(state, Stopped) else word(state)


def ending_word(state: Running) -> str:
    """Say that a run ends as it was asked to: 'stopping'; nothing of one that was asked for nothing."""
    return _ENDING.get(state.asked, "")


def ending_words(state: Running) -> str:
    """Say what a run does that ends as it was asked to: 'saving a checkpoint'."""
    return "nothing is saved" if state.asked == "kill" else "saving a checkpoint"


def can_end(row: RunRow) -> bool:
    """Return whether there is something to end: the run, or its check."""
    return isinstance(row.state, Running | Queued) or row.checking is not None


def stop_asking(detail: RunDetail, name: str = "") -> Asking:
    """Return what is asked before a run is stopped, leaves the queue, or its check ends."""
    row = detail.row
    name = name or clean_line(row.name)
    if isinstance(row.state, Queued):
        kept = f"It stays as it is, at step {count(row.step)}." if row.step else "Nothing of it has run yet."
        return Asking(f"Take {name} out of the queue?", kept)
    if isinstance(row.checking, Queued) and not isinstance(row.state, Running):
        return Asking(f"Take the check of {name} out of the queue?", "The run itself is done.")
    if not isinstance(row.state, Running):
        return Asking(f"End the check of {name}?", "It will have no verdict; the run itself is done.")
    saves = f"It saves step {count(row.step)} first." if row.step else "It has no step to save yet."
    return Asking(f"Stop {name}?", saves)


def kill_asking(detail: RunDetail, name: str = "") -> Asking:
    """Return what is asked before a run is killed; of what does not run, what is asked before a stop."""
    row = detail.row
    if not isinstance(row.state, Running):
        return stop_asking(detail, name)
    saved = max((checkpoint.step for checkpoint in detail.checkpoints), default=0)
    kept = f"step {count(saved)} is saved" if saved else "nothing is saved"
    lost = f"{counted(max(0, row.step - saved), 'step')} lost: {kept}."
    return Asking(f"Kill {name or clean_line(row.name)}?", lost)


def trash_asking(names: Sequence[str], size: str) -> Asking:
    """Return what is asked before runs go to the trash."""
    what = names[0] if len(names) == 1 else counted(len(names), "run")
    return Asking(f"Move {what} to the trash?", size)
