"""The target during training when no check measures it: metrics `target_…`, drawn as curves.

A new model has no base for a check to compare with, and often its own tokenizer: it is measured at evaluations. Without
a check of the run (check.general: null, or check.at_end: false and no check.every), the target is measured before the
first step, which is the base, and after the last one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transformers import TrainerCallback

from finetop.core.check.scoring import target
from finetop.core.check.scoring.batch_plan import BatchPlan, halve_until_it_fits
from finetop.core.check.scoring.scorer import packs_exactly, plan_for
from finetop.core.check.scoring.target import TargetRow
from finetop.core.data.prompts import open_asker
from finetop.core.errors import FinetopError
from finetop.core.models import attention, collectives, shards
from finetop.core.models.devices import free_memory
from finetop.core.models.forward import longest_input
from finetop.core.plugins import has_base
from finetop.core.protocol.events import Alarm, Phase, metrics
from finetop.core.recipe.schema import Target
from finetop.core.train import check_callback, master
from finetop.core.train.check_callback import Forwards
from finetop.core.train.trainer_setup import Setup


@dataclass
class Probe(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """The target's rows, and the model's forwards before a trainer wrapped them. The pacer must come first."""

    setup: Setup
    wanted: Target
    rows: list[TargetRow]
    plain: Forwards
    plan: BatchPlan
    is_new: bool  # without a base: measured at evaluations, not before the first step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.is_new and not state.global_step:
            self.measure(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.is_new and (control.should_evaluate or state.global_step >= state.max_steps):
            self.measure(state.global_step)

    def finish(self, step: int) -> None:
        """Measure the model once more at the end of a training that was not stopped."""
        if not self.is_new:
            self.measure(step)

    def measure(self, step: int) -> None:
        """Write the target's present metrics; if they can't be measured, raise an alarm and go on training."""
        setup = self.setup
        setup.events.write(Phase("scoring the target"))
        try:
            or_else = "use fewer rows in check.target"
            values = halve_until_it_fits(self._scored, self.plan, setup.device, or_else=or_else)
        except FinetopError as error:
            _failed(setup, step, error)
            return
        setup.events.write(metrics(step, values))
        print(f"step {step}: " + ", ".join(f"{key} {values[key]:.4f}" for key in values), flush=True)

    def _scored(self, plan: BatchPlan) -> dict[str, float]:
        setup, values = self.setup, {}
        free_memory(setup.device)
        with (
            check_callback.undisturbed(setup.model, self.plain),
            shards.put_together(setup.model) as is_whole,
            master.as_saved(setup.model, setup.dtype),
            attention.beside_training(setup.model),
        ):
            if plan.layout == "packed" and not packs_exactly(setup.model):
                plan = replace(plan, layout="plain")
            for metric in self.wanted.metrics:
                rows = target.rows_for(metric, self.rows, setup.device, self.wanted)
                model, tokenizer = setup.model, setup.tokenizer
                scores = target.score_rows(metric, rows, self.wanted, model, tokenizer, plan, shares=is_whole)
                total = sum(target.weight_of(metric, row) for row in rows)
                values[f"target_{metric}"] = sum(target.value_of(metric, score) for score in scores) / total
        return values


def begin(setup: Setup) -> Probe | None:
    """Read the target's rows, before the trainer wraps the model; None if a check measures it, or none is set."""
    recipe, wanted = setup.recipe, setup.recipe.check.target
    is_new = not has_base(recipe.objective.name)
    checks = recipe.check
    is_checked = checks.general is not None and (checks.at_end or checks.every is not None)
    if wanted is None or (is_checked and not is_new):
        return None
    try:
        with collectives.in_turn():
            rows = target.read_rows(
                wanted,
                setup.tokenizer,
                setup.home,
                longest_input(setup.model.config, setup.tokenizer),
                open_asker(recipe.ask, recipe.data.train, setup.home),
                setup.events.write,
                setup.run_folder if collectives.rank() == 0 else None,
                recipe.data.max_tokens,
            )
    except FinetopError as error:
        _failed(setup, 0, error)
        return None
    plan = plan_for(setup.device, setup.engine)
    return Probe(setup, wanted, rows, check_callback.own_forwards(setup.model), plan, is_new)


def _failed(setup: Setup, step: int, error: FinetopError) -> None:
    text = f"TARGET can't be measured: {error}"
    setup.events.write(Alarm("check", step, text))
    print(f"alarm: {text}", flush=True)
