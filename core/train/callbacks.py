"""What happens around the steps: metrics, alarms, evaluation, drift, samples, checkpoints, checks, the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psutil
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import has_length

from finetop.core.data.formats import Prompt
from finetop.core.models import checkpoint, collectives, shards
from finetop.core.models.devices import energy_counter, keep_to
from finetop.core.models.quantize import count_numbers
from finetop.core.protocol.events import Phase, Planned, metrics
from finetop.core.protocol.metric_names import NAMES, WANTED
from finetop.core.recipe.length import steps_between
from finetop.core.recipe.schema import Train
from finetop.core.runtime import gpu_share, ranks
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.failures import is_disk_full, named
from finetop.core.runtime.gpu_energy import Energy
from finetop.core.runtime.stop_signal import Stop
from finetop.core.train import check_callback, drift_probe, master, nan_guard, samples, stop_early
from finetop.core.train.alarms import Alarms
from finetop.core.train.intervals import Ration
from finetop.core.train.resume import random_state
from finetop.core.train.trainer_setup import Setup
from finetop.core.wording.durations import long_span

if TYPE_CHECKING:
    from transformers import TrainerState

    from finetop.core.models.checkpoint import KeepState

PHASE_S = 1.0  # between two progress events, log lines or GPU readings
WATCHED = (stop_early.EVAL_LOSS, stop_early.EVAL_REWARD)
DISK_S = 10.0  # between two readings of the free disk space


class Meter(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Writes the metrics and the progress of every step, and passes the metrics to the alarms.

    Both callbacks cost 0.2 to 0.4 ms a step on a busy machine: one line, one read of /proc.
    """

    def __init__(
        self,
        events: EventLog,
        device: str,
        own: Mapping[str, str],
        alarms: Alarms,
        spent_s: float = 0.0,
        energy_wh: float = 0.0,
    ) -> None:
        self.events = events
        self.spent_before_s = spent_s  # by the run's earlier jobs
        self.energy_before_wh = energy_wh  # by the earlier jobs, on all GPUs
        self.energy = Energy(energy_counter(device))  # of this rank's GPU
        self.energies: list[float] = []  # joules of each rank whose GPU reports them, at the last exchange
        self.was_shared = False  # the GPU, with another job
        self.alarms = alarms
        self.device = device
        self.own = own  # metrics of the objective: trainer's name -> our name
        self.process = psutil.Process()
        self.began = self.step_began = self.shown = time.monotonic()
        self.step_s = math.inf
        self.handed_back: float | None = None  # since when the trainer prepares the next rows
        self.waited_s = 0.0  # for the rows of this step
        self.tokens = 0.0
        self.first_step = 0  # last step before a resumed run begins
        self.gpu: dict[str, float] = {}  # its facts at the last reading
        self.looked = self.began
        self.evaluated = 0  # batches of this evaluation

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = self.looked = time.monotonic()
        self.energy.begin(self.began)
        self.first_step = state.global_step
        self.tokens = max(self.tokens, float(state.num_input_tokens_seen))  # if the trainer counts them
        self.alarms.begin(state.max_steps)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step_began = time.monotonic()
        if self.handed_back is not None:
            self.waited_s = self.step_began - self.handed_back

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)  # else the trainer waits for the GPU as it reads the loss
        now = time.monotonic()
        self.step_s = max(1e-9, now - self.step_began)
        is_due = now - self.looked >= PHASE_S or state.global_step in (1, state.max_steps)
        if is_due and self.device.startswith("cuda"):
            self._look_at_gpu(now)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # TRL writes None for the mean of no values, such as the spread of a single answer's reward
        logs = {NAMES.get(key, key): value for key, value in kwargs["logs"].items() if value is not None}
        own = {name: float(logs[key]) for key, name in self.own.items() if key in logs}
        if "eval_loss" in logs:
            eval_values = {"eval_loss": float(logs["eval_loss"])}
            of_eval = {f"eval_{key}": f"eval_{name}" for key, name in self.own.items()}
            eval_values |= {name: float(logs[key]) for key, name in of_eval.items() if key in logs}
            self.events.write(metrics(state.global_step, eval_values))
            self.alarms.check(state.global_step, eval_values)
            by_reward = "eval_reward" in eval_values  # then eval_loss is only the negative reward
            shown_keys = [key for key in eval_values if not (by_reward and key == "eval_loss")]
            shown = ", ".join(f"{key} {eval_values[key]:.4f}" for key in shown_keys)
            print(f"step {state.global_step}: {shown}")
            self._phase(state, time.monotonic())
        if "loss" not in logs:
            return  # an evaluation, or the trainer's summary at the end
        now = time.monotonic()
        values = {key: float(logs[key]) for key in WANTED if key in logs} | own
        if "tokens" in values:
            values["tokens_per_s"] = (values["tokens"] - self.tokens) / self.step_s
            self.tokens = values["tokens"]
        values["memory_gib"] = self._memory_gib()
        if self.device.startswith("cuda"):
            values["host_gib"] = float(self.process.memory_info().rss) / 2**30
        if now - self.shown >= PHASE_S or state.global_step in (1, state.max_steps):
            self._show(state, values, now)
        values |= self.gpu
        if self.energies:
            values["energy_wh"] = self.energy_wh
        self.events.write(metrics(state.global_step, values))
        self.alarms.check(state.global_step, {**values, "step_s": self.step_s + self.waited_s})
        if control.should_evaluate:
            self.events.write(Phase("evaluating"))
            self.evaluated, self.shown = 0, now
        self.handed_back = time.monotonic()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the progress of an evaluation, so that a long one does not look like a stalled run."""
        self.evaluated += 1
        now = time.monotonic()
        if now - self.shown >= PHASE_S:
            self.shown = now
            batches = kwargs.get("eval_dataloader")
            total = None if batches is None else float(len(batches))
            self.events.write(Phase("evaluating", float(self.evaluated), total, "batches"))

    def _memory_gib(self) -> float:
        """Return the peak memory reserved on the GPU, or the memory that this process holds now on a CPU."""
        if self.device.startswith("cuda"):
            return float(torch.cuda.max_memory_reserved(self.device)) / 2**30
        return float(self.process.memory_info().rss) / 2**30

    def _show(self, state: TrainerState, values: dict[str, float], now: float) -> None:
        self.shown = now
        left_s = self._phase(state, now)
        names = ("loss", "grad_norm", *self.own.values(), "tokens_per_s")
        metrics_text = ", ".join(f"{key} {values[key]:.4g}" for key in names if key in values)
        place = f"step {state.global_step}/{state.max_steps}"
        print(f"{place}: {metrics_text}, {long_span(left_s)} left", flush=True)

    def _look_at_gpu(self, now: float) -> None:
        """Read the state and energy of this rank's GPU, and apply a changed share of its memory."""
        if gpu_share.refresh():
            self._keep_to_share()
        self.gpu, jobs = gpu_facts(self.device), gpu_share.jobs_on(ranks.own().local)
        watts = self.gpu.get("gpu_watts")
        self.energy.add(now, watts, jobs)
        self.was_shared |= gpu_share.is_shared()
        if watts is not None:
            self.gpu["gpu_watts"] = watts / jobs
        self.looked = now

    def _keep_to_share(self) -> None:
        limit = gpu_share.limit()
        keep_to(limit.gib, self.device)
        beside = f", beside {named(limit.beside)}" if limit.beside else ""
        most = "all of it" if limit.gib is None else f"at most {limit.gib:g} GiB"
        print(f"GPU memory allowed from now on: {most}{beside}", flush=True)

    def take_energies(self, numbers: Sequence[int]) -> None:
        """Store what the GPUs of all ranks have used, in the form of `own_energy`."""
        self.energies = [(number - 1) / 1000 for number in numbers if number]

    def own_energy(self) -> list[int]:
        """Return one number per rank, all 0 but this rank's: its GPU's millijoules plus 1, or 0 if it reports none."""
        numbers = [0] * collectives.count()
        if self.energy.used_j is not None:
            numbers[collectives.rank()] = 1 + round(self.energy.used_j * 1000)
        return numbers

    @property
    def energy_wh(self) -> float:
        """The energy of the whole run: of its earlier jobs, and of all ranks of this one."""
        return self.energy_before_wh + sum(self.energies) / 3600

    def _phase(self, state: TrainerState, now: float) -> float:
        """Report the training progress; return the seconds left at the average pace so far, evaluations included."""
        steps_taken = max(1, state.global_step - self.first_step)
        left_s: float = (now - self.began) / steps_taken * float(state.max_steps - state.global_step)
        done, total = float(state.global_step), float(state.max_steps)
        spent_s = round(self.spent_s(now), 1)
        self.events.write(Phase("training", done, total, "steps", round(left_s, 1), spent_s))
        return left_s

    def spent_s(self, now: float | None = None) -> float:
        """Return how long the run has been trained: by its earlier jobs, and since this one began."""
        return self.spent_before_s + (time.monotonic() if now is None else now) - self.began

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._phase(state, time.monotonic())  # with all that was spent
        if self.energies:
            of, ranks_told = collectives.count(), len(self.energies)
            which = f"{of} GPUs" if ranks_told == of else f"{ranks_told} of {of} GPUs"
            which = "the GPU" if of == 1 else which
            which = f"its share of {which}" if self.was_shared else which
            print(f"energy: {self.energy_wh:.3g} Wh of {which}, over the whole run", flush=True)


def _epochs(train: Train, args: Any, state: Any, batches: Any) -> float:
    """Return how often all rows are read in the planned steps; the trainer's own number is rounded up."""
    if train.max_steps is None and train.epochs is not None:
        return train.epochs
    if batches is None or not has_length(batches):
        return float(state.num_train_epochs)
    return float(state.max_steps / max(1, math.ceil(len(batches) / args.gradient_accumulation_steps)))


def gpu_facts(device: str) -> dict[str, float]:
    """Read a GPU's sensors from the driver; those that it does not report are left out."""
    sensors = {
        "gpu_util": torch.cuda.utilization,
        "gpu_celsius": torch.cuda.temperature,
        "gpu_watts": lambda device: torch.cuda.power_draw(device) / 1000,
    }
    facts = {}
    for name, read in sensors.items():
        try:
            facts[name] = float(read(device))
        except Exception:  # the library has no closer base class; a sensor must not end training
            continue
    return facts


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
        outcome = check_callback.check_in_memory(checks, step, str(folder.relative_to(self.setup.run_folder)))
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
