"""How protections against forgetting act in a run: on the training rows, on gradients, on a step's learning rate.

Gradients are added after a step's last batch and before clipping, so that what is clipped and applied is the gradient
of loss + penalty, with any trainer and any loss. Without protections nothing changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback

from finetop.core.data.examples import AnyExample
from finetop.core.errors import BadInput
from finetop.core.protocol.events import Phase, metrics
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import protections
from finetop.core.train.protections import Acting, Base
from finetop.core.train.trainer_setup import Setup


def rows(base: Base, train: list[AnyExample]) -> list[AnyExample]:
    """Return the training examples after each protection has processed them with the base. Raises BadInput."""
    for name, options in recipe_protections.chosen(base.recipe).items():
        train = protections.load(name).rows(options, base, train)
    return train


def hold(recipe: Recipe, model: Any) -> None:
    """Freeze the weights that a protection excludes from training. Raises BadInput if none is left."""
    for name, options in recipe_protections.chosen(recipe).items():
        protections.load(name).hold(options, model)


def begin(setup: Setup, trainer: Any) -> None:
    """Attach the protections to a trainer's steps, and print what each one holds. Raises BadInput."""
    acting = []
    for name, options in recipe_protections.chosen(setup.recipe).items():
        protection = protections.load(name)
        if not protection.steps:
            continue
        if not hasattr(trainer, "training_step"):
            message = f"protect.{name}: it does not work with the trainer of {setup.recipe.objective.name}."
            raise BadInput(message, hint="Leave it out.")
        setup.events.write(Phase(f"preparing {name}"))
        began = time.monotonic()
        made = protection.begin(options, setup, trainer)
        print(f"protect.{name}: {made.about}; {time.monotonic() - began:.1f} s", flush=True)
        acting.append(made)
    if acting:
        watch = ProtectionCallback(acting, trainer, setup.events)
        trainer.add_callback(watch)
        trainer.training_step = watch.around(trainer.training_step)


@dataclass
class StepCost:
    """The cost of a step's protections, and their metrics."""

    marks: tuple[Any, Any] | None = None  # when they began and ended
    loss: Any = 0.0
    values: dict[str, Any] = field(default_factory=dict)


class ProtectionCallback(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Calls every protection at its place in a step, and writes its metrics and cost."""

    def __init__(self, acting: Sequence[Acting], trainer: Any, events: EventLog) -> None:
        self.acting = acting
        self.trainer = trainer
        self.events = events
        self.step = StepCost()
        self.rates: list[float] = []  # original rates of the optimizer's groups, while they are lowered
        self.spent_s = 0.0
        self.began = time.monotonic()

    def around(self, training_step: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a trainer's training step, to add gradients after a step's last backward pass."""

        def stepping(*given: Any, **named: Any) -> Any:
            loss = training_step(*given, **named)
            self.step.loss = self.step.loss + loss.detach()
            if self.trainer.accelerator.sync_gradients:
                self._add_gradients()
            return loss

        return stepping

    def _add_gradients(self) -> None:
        before = self._mark()
        scaler = getattr(self.trainer.accelerator, "scaler", None)
        scale = float(scaler.get_scale()) if scaler is not None else 1.0
        for acting in self.acting:
            if acting.gradients is not None:
                self.step.values |= acting.gradients(scale)
        self.step.marks = before, self._mark()

    def _mark(self) -> Any:
        """Mark this moment: on a GPU as an event in its queue, so that the host need not wait."""
        if self.trainer.args.device.type != "cuda":
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = StepCost()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        factor = 1.0
        for acting in self.acting:
            if acting.rate is not None:
                factor *= acting.rate(float(self.step.loss))
                self.step.values["protect_rate"] = factor
        if factor != 1.0:
            groups = self.trainer.optimizer.param_groups
            self.rates = [group["lr"] for group in groups]
            for group in groups:
                group["lr"] = group["lr"] * factor

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for group, rate in zip(self.trainer.optimizer.param_groups, self.rates, strict=False):
            group["lr"] = rate
        self.rates = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = self.step
        seconds = between(*step.marks) if step.marks else 0.0
        self.spent_s += seconds
        values = {key: float(value) for key, value in step.values.items()}
        self.events.write(metrics(state.global_step, {**values, "protect_s": seconds}))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        whole = max(1e-9, time.monotonic() - self.began)
        each = self.spent_s / max(1, state.global_step)
        print(f"protect: {each:.3f} s a step, {100 * self.spent_s / whole:.0f} % of training", flush=True)


def between(before: Any, after: Any) -> float:
    """Return the seconds between two marks; on a GPU, wait until it has reached the second."""
    if isinstance(before, float):
        return float(after - before)
    after.synchronize()
    return float(before.elapsed_time(after)) / 1000
