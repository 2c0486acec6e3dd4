"""Which requests a run accepts in its current state; the supervisor refuses, and clients offer, by the same rules.

Each function raises the supervisor's error. What only the disk shows (a damaged checkpoint) the supervisor checks
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from finetop.core import plugins
from finetop.core.errors import BadInput, FinetopError, NotFound, Refused
from finetop.core.protocol.runs import GGUF, NO_WEIGHT, Queued, Running, RunRow, word

RequestName = Literal["check", "remedies", "remedy", "bisect", "retry"]


def writes_text(row: RunRow) -> None:
    """Require a run with its own text-generating model, and a base to compare with."""
    weights(row.method, row.name)
    if not plugins.writes_text(row.objective):
        hint = "Check what was trained against it; its own score is eval_reward_accuracy."
        raise BadInput(f"{row.name} is a reward model, which generates no text to check.", hint=hint)
    if not plugins.has_base(row.objective):
        hint = f"Its evaluation loss and its target are curves: finetop show {row.name}."
        raise BadInput(f"{row.name} is a new model: there is no base to check it against.", hint=hint)


def weights(method: str, name: str) -> None:
    """Require that a run has weights of its own."""
    if method == NO_WEIGHT:
        hint = "See `finetop approaches`."
        raise Refused(f"{name} trains no weights: it is the base model, prompted in its own way.", hint=hint)


def tensors(method: str, name: str) -> None:
    """Require weights of its own that can be merged, changed and trained on."""
    weights(method, name)
    if method == GGUF:
        hint = "Use the model that the file was made of. The file itself can be checked and chatted with."
        raise BadInput(f"{name} is a GGUF file, which llama.cpp alone reads.", hint=hint)


def check(row: RunRow) -> None:
    """Require what a check needs: text, a checkpoint, and no other check under way."""
    writes_text(row)
    if row.checking is not None:
        raise Refused(f"{row.name} is already being checked.", hint=f"See `finetop show {row.name}`.")
    _checkpoint(row)


def remedies(row: RunRow) -> None:
    """Require what remedies are made from: text and a checkpoint."""
    writes_text(row)
    tensors(row.method, row.name)
    _checkpoint(row)


def remedy(row: RunRow) -> None:
    """Require that remedies can be tried now: none of this run's are being tried."""
    remedies(row)
    if any(job.kind.tries_candidates for job in row.others):
        hint = f"See `finetop show {row.name}`."
        raise Refused(f"remedies of {row.name} are already being tried.", hint=hint)


def bisect(row: RunRow) -> None:
    """Require that the checkpoint that lost it can be searched for: the run has ended and can be checked."""
    ended(row)
    check(row)


def ended(row: RunRow) -> None:
    """Require that a run has ended, so that its checkpoints can be compared."""
    if isinstance(row.state, Queued | Running):
        raise Refused(f"{row.name} is {word(row.state)}: its checkpoints are compared when it has ended.")


def retry(row: RunRow) -> None:
    """Require that a failed run can be retried: nothing of it is under way, and it can resume."""
    free(row)
    if row.saved and not row.resumable:
        hint = f"Start from its weights: model.id: run:{row.name}."
        raise BadInput(f"{row.name} has no trainer state: train.resumable was off.", hint=hint)


def free(row: RunRow) -> None:
    """Require that no job of a run is under way, except for a chat, which changes nothing."""
    if isinstance(row.state, Queued | Running):
        reason = f"{row.name} is {word(row.state)}"
    elif busy := [job for job in row.side_jobs if job.kind.blocks]:
        reason = f"the {busy[0].verb} of {row.name} is {word(busy[0].state)}"
    else:
        return
    raise Refused(f"{reason}.", hint=f"Wait for it to end, or `finetop stop {row.name}` first.")


def _checkpoint(row: RunRow) -> None:
    if row.saved:
        return
    if isinstance(row.state, Running):
        saves = row.maker.trains_here
        hint = "It has none yet" + (
            ": `finetop stop` saves one." if saves else "; its output is read at its end."
        )
    elif isinstance(row.state, Queued):
        hint = "It has none until it runs."
    else:
        hint = "None was saved, or they were removed: train it again."
    raise NotFound("this run has no checkpoint.", hint=hint)


_Rules = dict[RequestName, Callable[[RunRow], None]]
_RULES: _Rules = {"check": check, "remedies": remedies, "remedy": remedy, "bisect": bisect, "retry": retry}


def accepts(row: RunRow, request: RequestName) -> bool:
    """Return whether the supervisor accepts this request for a run in its current state."""
    try:
        _RULES[request](row)
    except FinetopError:
        return False
    return True


def refused(row: RunRow) -> list[RequestName]:
    """Return the requests that the supervisor refuses for a run in its current state."""
    return [request for request in _RULES if not accepts(row, request)]
