"""What happens around the steps: evaluation, drift, samples, checkpoints, checks, the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_utils import has_length

from finetop.core.data.formats import Prompt
from finetop.core.models import checkpoint, collectives, shards
from finetop.core.models.quantize import count_numbers
from finetop.core.protocol.events import Phase, Planned, metrics
from finetop.core.recipe.length import steps_between
from finetop.core.recipe.schema import Train
from finetop.core.runtime.failures import is_disk_full
from finetop.core.runtime.stop_signal import Stop
from finetop.core.train import check_callback, drift_probe, master, nan_guard, samples, stop_early
from finetop.core.train.intervals import Ration
from finetop.core.train.meter import Meter
from finetop.core.train.resume import random_state
from finetop.core.train.trainer_setup import Setup

if TYPE_CHECKING:
    from finetop.core.models.checkpoint import KeepState

WATCHED = (stop_early.EVAL_LOSS, stop_early.EVAL_REWARD)
DISK_S = 10.0  # between two readings of the free disk space


def _epochs(train: Train, args: Any, state: Any, batches: Any) -> float:
    """Return how often all rows are read in the planned steps; the trainer's own number is rounded up."""
    if train.max_steps is None and train.epochs is not None:
        return train.epochs
    if batches is None or not has_length(batches):
        return float(state.num_train_epochs)
    return float(state.max_steps / max(1, math.ceil(len(batches) / args.gradient_accumulation_steps)))


def agree_on(stop: Stop) -> bool:
    """Stop all ranks for the reason of the first rank that has one. Returns True if any has."""
    for wish in collectives.gathered((stop.reason, stop.is_asked)):
        if wish[0]:
            stop.reason, stop.is_asked = wish
            return True
    return False


class Pacer(TrainerCallback):  # type: ignore[misc]
    """Decides after every step what is due: evaluation, drift, samples, a checkpoint, the end."""

    def __init__(
        self,
        setup: Setup,
        prompts: list[Prompt],
        general_text: str | None,
        meter: Meter,
        stop: Stop,
        way: check_callback.TrainingChecks | None,
        watch: stop_early.Watch | None = None,
    ) -> None:
        self.setup = setup
        self.prompts = prompts  # for the samples
        self.general_text = general_text  # for the drift probe
        self.way = way
        self.watch = watch  # of the metric that shows whether the run still improves
        self.evaluated: dict[str, float] = {}  # from this step's evaluation
        self.saves_later = False  # the checkpoint that is due waits for this step's evaluation
        self.evaluate: Callable[[], Any] | None = None  # evaluates at once, outside the trainer's schedule
        self.owes_evaluation = False
        self.meter = meter
        self.events = setup.events
        self.stop = stop
        self.probe: drift_probe.Probe | None = None
        self.drift = self.samples = Ration(1)
        self.checkpoint_bytes = 0.0  # size of the last one, or the estimate for the first
        self.looked_at_disk = -math.inf
        self.keep_state: KeepState | None = None  # adds the state that resuming needs to checkpoints
        self.before_evaluation: dict[str, Any] | None = None  # random state to restore after the evaluation
        self.is_first = collectives.rank() == 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model, recipe, total = kwargs["model"], self.setup.recipe, state.max_steps
        self.checkpoint_bytes = checkpoint.likely_bytes(model, with_state=self.keep_state is not None)
        self.events.write(
            Planned(
                steps=total,
                epochs=_epochs(recipe.train, args, state, kwargs.get("train_dataloader")),
                rows=len(self.setup.train),
                eval_rows=len(self.setup.eval),
                tokens_per_epoch=sum(example.tokens for example in self.setup.train),
                trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
                parameters=count_numbers(model),
                dtype=self.setup.dtype,
            )
        )
        self.samples = Ration(steps_between(recipe.train.eval_every, total))
        self.owes_evaluation = self._is_owed(state.global_step, total)
        if not state.global_step:  # a resumed run wrote them before
            self._write_samples(model, 0)
        if recipe.drift.every is not None and self.general_text is not None:
            self._now_does("measuring the start")
            self.drift = Ration(steps_between(recipe.drift.every, total))
            before = time.monotonic()
            with shards.put_together(model) as is_whole:
                setup, text = self.setup, self.general_text
                self.probe = drift_probe.start(model, setup.tokenizer, text, setup.device, shared=is_whole)
            self.drift.took(time.monotonic() - before)
            if self.probe is not None and not state.global_step:
                self.events.write(metrics(0, {"drift": 0.0, "kl": 0.0}))

    def _is_owed(self, step: int, total: int) -> bool:
        """Return True if a resumed run begins at a step whose due evaluation was not done."""
        if self.watch is None or self.watch.of_target or not step or not self.setup.eval:
            return False
        every = steps_between(self.setup.recipe.train.eval_every, total)
        return step % every == 0 and step not in self.watch.values

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.owes_evaluation and self.evaluate is not None:
            self.owes_evaluation = False
            self.before_evaluation = random_state.now()
            self.evaluate()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, total, train = state.global_step, state.max_steps, self.setup.recipe.train
        self._look_at_disk(step)
        stops, probes, writes = self._agree(step)
        if stops:
            control.should_training_stop = True
        is_last = step >= total
        every = steps_between(train.eval_every, total)
        control.should_evaluate = bool(self.setup.eval) and (is_last or step % every == 0)
        keeps_best = self.way is not None and self.way.keeps_best
        self.before_evaluation = random_state.now() if control.should_evaluate or keeps_best else None
        if stops and not is_last:
            control.should_evaluate = False  # the checkpoint comes first: a stop may be followed by a kill
            return
        model = kwargs["model"]
        if self.probe is not None and (probes or is_last):
            self._measure_drift(model, self.probe, step)
        if writes or is_last:
            self._write_samples(model, step)
        if self.way is not None and check_callback.is_due(self.way, step, total):
            if self._save(model, step) and self._check(self.way, step, total):
                control.should_training_stop = True
            control.should_evaluate |= self.way.keeps_best and bool(self.setup.eval)
            if agree_on(self.stop):
                control.should_training_stop = True
                control.should_evaluate &= is_last
        elif step % steps_between(train.save_every, total) == 0 and not is_last:
            if self.watch is not None and control.should_evaluate:
                self.saves_later = True  # so that a run resumed from it knows this evaluation
            else:
                self._save(model, step)

    def _agree(self, step: int) -> tuple[bool, bool, bool]:
        """Return whether to stop, to measure drift and to write samples at this step, the same on all ranks.

        Any rank may want to stop; the first rank's clock decides what is due. One exchange per step.
        """
        now = time.monotonic()
        due = [self.is_first and ration.asks(step, now) for ration in (self.drift, self.samples)]
        asked = [bool(self.stop.reason), *due, *self.meter.own_energy()]
        stops, probes, writes, *used = collectives.largest(asked)
        self.meter.take_energies(used)
        return bool(stops) and agree_on(self.stop), bool(probes), bool(writes)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.before_evaluation is not None:  # training must not depend on how often it is evaluated
            random_state.put_back(self.before_evaluation)
        if self.way is not None and "eval_loss" in kwargs["metrics"]:
            self.way.eval_losses[state.global_step] = float(kwargs["metrics"]["eval_loss"])
        self._look_at_progress(kwargs["model"], state.global_step, state.max_steps, control)
        self.meter.handed_back = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "eval_loss" in kwargs["logs"]:
            self.evaluated = {key: float(kwargs["logs"].get(key, math.nan)) for key in WATCHED}

    def _look_at_progress(self, model: Any, step: int, total: int, control: Any) -> None:
        """Save the model if this evaluation is the best so far, and stop if nothing has improved for too long."""
        watch, saves, self.saves_later = self.watch, self.saves_later, False
        if watch is not None and not watch.of_target:
            is_best = stop_early.note(watch, step, self.evaluated.get(watch.metric, math.nan))
            saves |= is_best and watch.keeps
        if saves and step < total:
            self._save(model, step)
        if watch is not None and not watch.of_target and self._ends_early(watch, step, total):
            control.should_training_stop = True

    def _ends_early(self, watch: stop_early.Watch, step: int, total: int) -> bool:
        reason = stop_early.end_of(watch) if step < total else ""
        if reason:
            watch.reason = reason
            print(reason, flush=True)
        return bool(reason)

    def _check(self, checks: check_callback.TrainingChecks, step: int, total: int) -> bool:
        """Check the checkpoint just written, while its model is in memory; return True if training should end."""
        self._now_does("checking")
        folder = checkpoint.folder_of(self.setup.run_folder, step)
        outcome = check_callback.check_in_memory(checks, step, folder, self.setup.run_folder)
        if outcome is None:
            return False
        check_callback.react(checks, step, outcome)
        watch = self.watch
        if watch is None or not watch.of_target or (score := outcome.target.get(watch.metric)) is None:
            return False
        stop_early.note(watch, step, score.tuned)
        return self._ends_early(watch, step, total)

    def _now_does(self, name: str) -> None:
        """Report what happens in place of training; the next metrics end this phase."""
        self.events.write(Phase(name))
        self.meter.shown = 0.0

    def _measure_drift(self, model: Any, start: drift_probe.Probe, step: int) -> None:
        self._now_does("measuring drift")
        before = time.monotonic()
        with shards.put_together(model) as is_whole:
            values = drift_probe.measure(model, start, shared=is_whole)
        self.drift.took(time.monotonic() - before)
        self.events.write(metrics(step, values))
        self.meter.alarms.check(step, values)

    def _look_at_disk(self, step: int) -> None:
        """Pass the free disk space to the alarms, at most every `DISK_S` seconds."""
        now = time.monotonic()
        if now - self.looked_at_disk < DISK_S:
            return
        self.looked_at_disk = now
        facts = os.statvfs(self.setup.run_folder)
        values = {
            "free_bytes": float(facts.f_bavail * facts.f_frsize),
            "disk_bytes": float(facts.f_blocks * facts.f_frsize),
            "checkpoint_bytes": self.checkpoint_bytes,
        }
        self.meter.alarms.check(step, values)

    def _write_samples(self, model: Any, step: int) -> None:
        if not self.prompts:
            return
        self._now_does(samples.PHASE)
        before = time.monotonic()
        setup, most = self.setup, self.setup.recipe.samples.max_new_tokens
        with shards.put_together(model), master.as_written(model, setup.dtype, setup.engine):
            samples.write(model, setup.tokenizer, self.prompts, most, step, self.events, setup.engine)
        self.samples.took(time.monotonic() - before if step else 0.0)

    def _save(self, model: Any, step: int) -> bool:
        """Write a checkpoint; return True if written. A full disk raises an alarm: work may still be saved later."""
        self._now_does("writing a checkpoint")
        if not nan_guard.are_finite(model):
            print(f"step {step}: no checkpoint: the weights are NaN", flush=True)
            return False
        try:
            setup, keep_state = self.setup, self.keep_state
            base, run_folder = setup.base, setup.run_folder
            folder = checkpoint.write(model, setup.tokenizer, base, run_folder, step, self.events, keep_state)
        except Exception as error:
            if not is_disk_full(error):
                raise
            self.meter.alarms.check(step, {"unwritten": 1.0})
            return False
        self.meter.alarms.check(step, {"unwritten": 0.0})
        self.checkpoint_bytes = checkpoint.bytes_of(folder)
        if self.is_first:
            keep = self.setup.recipe.train.keep_checkpoints
            spared = check_callback.spared(self.way) | stop_early.spared(self.watch)
            checkpoint.prune(self.setup.run_folder, keep, spared)
        return True
