"""Keeps a run within its recipe's budget of hours and tokens, over all jobs that train it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finetop.core.errors import BadInput
from finetop.core.train.resume.earlier_jobs import hours_used_up

if TYPE_CHECKING:
    from finetop.core.recipe import schema
    from finetop.core.runtime.stop_signal import Stop
    from finetop.core.train.meter import Meter


class Budget(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Stops training, with a checkpoint, at the end of the step that uses up the hours or the tokens.

    Hours are training time, with evaluations, checks and killed jobs, without model loading or waiting in the queue.
    Tokens are those trained on or read as prompts, by the trainer's own count; steps repeated after resuming from an
    earlier checkpoint count once.
    """

    def __init__(self, wanted: schema.Budget, meter: Meter, stop: Stop) -> None:
        self.wanted = wanted
        self.meter = meter  # knows what is used so far
        self.stop = stop

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse to go on if nothing is left. Raises BadInput."""
        used = self.hours_used() or self.tokens_used()
        if used:
            key = used.partition(" ")[0]
            raise BadInput(f"{used}.", hint=f"Raise it: --set {key}=N.")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_with(self.hours_used())  # the pacer runs next, and writes the checkpoint first

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the token count, which is logged after a step's end."""
        used = self.tokens_used() if "loss" in kwargs["logs"] else ""
        if used and state.global_step < state.max_steps:
            self._end_with(used)
            control.should_training_stop = True
            control.should_evaluate = False

    def _end_with(self, used: str) -> None:
        if used and not self.stop.reason:
            self.stop.reason = used

    def hours_used(self) -> str:
        """Return that the hours are used up, or an empty string while they are not."""
        return hours_used_up(self.wanted.hours, self.meter.spent_s())

    def tokens_used(self) -> str:
        """Return that the tokens are used up, or an empty string while they are not."""
        tokens = self.wanted.tokens
        if tokens is None or self.meter.tokens < tokens:
            return ""
        return f"budget.tokens ({tokens:,}) is used up: {self.meter.tokens:,.0f} tokens trained"
