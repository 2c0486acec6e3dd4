"""Measures every step: metrics, progress, memory, the GPU's state and energy; and passes them to the alarms."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psutil
import torch
from transformers import TrainerCallback

from finetop.core.models import collectives
from finetop.core.models.devices import energy_counter, keep_to
from finetop.core.protocol.events import Phase, metrics
from finetop.core.protocol.metric_names import NAMES, WANTED
from finetop.core.runtime import gpu_share, ranks
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.failures import named
from finetop.core.runtime.gpu_energy import Energy
from finetop.core.train.alarms import Alarms
from finetop.core.wording.durations import long_span

if TYPE_CHECKING:
    from transformers import TrainerState

PHASE_S = 1.0  # between two progress events, log lines or GPU readings


class Meter(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Writes the metrics and the progress of every step, and passes the metrics to the alarms.

    With the pacer it costs 0.2 to 0.4 ms a step on a busy machine: one line, one read of /proc.
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
        self.warm: float | None = None  # when this job's first step ended
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
        if self.warm is None:
            self.warm = now
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
        """Report the training progress; return the seconds left at the average pace so far, evaluations included.

        The first step, which warms up, counts only until there is a second.
        """
        steps_taken, began = state.global_step - self.first_step, self.began
        if self.warm is not None and steps_taken > 1:
            steps_taken, began = steps_taken - 1, self.warm
        pace_s = (now - began) / max(1, steps_taken)
        left_s: float = pace_s * float(state.max_steps - state.global_step)
        done, total = float(state.global_step), float(state.max_steps)
        spent_s = round(self.spent_s(now), 3)  # later jobs add to it: a short one's part must not be lost
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
