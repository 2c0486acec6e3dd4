"""Checks during training: the base is scored before step 1, then the model in memory at due checkpoints.

An adapter is switched off when a check needs more of the base; full weights have changed by then, so their base
is scored completely at the start.

A check leaves no trace in training: random state, modes and wrapped forwards are restored, so the losses are the
same bit for bit. check.on_fail decides what follows a REGRESSED.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from finetop.core.check import run_check
from finetop.core.check.context import CheckContext, open_context
from finetop.core.check.model_pair import ModelPair, hashes_of
from finetop.core.check.run_check import BaseScores
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.batches import Batch, PreparedSuite, ScoredModel, score_batch
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.models import attention, collectives, shards
from finetop.core.models.devices import free_memory
from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.protocol.events import Alarm, Best, Phase, Verdict
from finetop.core.recipe.length import steps_between
from finetop.core.recipe.schema import Check
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.stop_signal import Stop, StopAsked
from finetop.core.train import master
from finetop.core.train.resume import random_state
from finetop.core.train.resume.resume_point import ResumePoint
from finetop.core.train.trainer_setup import Setup
from finetop.core.wording.verdicts import verdict_line

Forwards = dict[torch.nn.Module, Any]  # per module, its instance's own forward; absent if it uses its class's


@dataclass
class TrainingChecks:
    """The checks of one training run: what they work with, and their results so far."""

    check: Check
    model: Any
    context: CheckContext
    base: BaseScores
    plain: Forwards
    stop: Stop
    events: EventLog
    began: float  # seconds of the monotonic clock, before the base was scored
    spent_s: float  # on the base and on all checks
    outcomes: dict[int, CheckResult] = field(default_factory=dict)  # by step
    eval_losses: dict[int, float] = field(default_factory=dict)  # by step
    gone_claims: int = 0  # made on checkpoints that no longer exist
    judges_last: bool = False  # check the last step too: it may be the best by the target

    @property
    def keeps_best(self) -> bool:
        return self.check.on_fail == "keep-best"


def begin(setup: Setup, stop: Stop) -> TrainingChecks | None:
    """Score the base before the trainer wraps the model: full weights on all items as loaded; or with the adapter off.

    Return None without check.every. Raises BadInput for a suite that can't be used, StopAsked, and
    EnvironmentTrouble if even the smallest batch does not fit in memory.
    """
    recipe, model, events = setup.recipe, setup.model, setup.events
    if recipe.check.every is None or recipe.check.general is None:
        return None
    began = time.monotonic()
    whole = not has_its_base(model)
    events.write(Phase("scoring base" if whole else "measuring base"))
    pair = ModelPair(setup.base, None, setup.dtype, setup.device, loaded=model, loaded_name="base")
    plain = own_forwards(model)
    with undisturbed(model, plain), attention.beside_training(model), shards.put_together(model) as is_whole:
        with collectives.in_turn():
            own_folder = setup.run_folder if collectives.rank() == 0 else None
            context = open_context(recipe, pair, setup.home, events, own_folder)
        context.shares, context.ends_job = is_whole, False
        side = run_check.in_smaller_batches(
            context, lambda plan: run_check.score_base(context, plan, whole=whole)
        )
    if context.target_failed:
        text = f"TARGET can't be measured, the verdict can: {context.target_failed}"
        events.write(Alarm("check", 0, text))
        print(f"alarm: {text}", flush=True)
    free_memory(setup.device)
    pair.loaded_name = "tuned"
    if collectives.count() > 1:
        context.stops = lambda: bool(stop.reason)
    seconds = time.monotonic() - began
    print(f"check: the base is scored on {len(side.scores.items)} items, {seconds:.1f} s", flush=True)
    return TrainingChecks(recipe.check, model, context, side, plain, stop, events, began, seconds)


def go_on(checks: TrainingChecks | None, point: ResumePoint | None) -> None:
    """Restore the results of a resumed run's earlier checks: their claims are spent, their best may stay the best."""
    if checks is None or point is None:
        return
    earlier = point.earlier
    kept = {step: result for step, result in earlier.verdicts.items() if step <= point.step}
    checks.outcomes = {step: read(result) for step, result in sorted(kept.items())}
    checks.eval_losses = {step: loss for step, loss in earlier.eval_losses.items() if step <= point.step}
    checks.gone_claims = max(0, earlier.claims - len(checks.outcomes))


def is_due(checks: TrainingChecks, step: int, total: int) -> bool:
    """Return whether to check at this step; the last is left to the check at the end, unless it may be the best."""
    assert checks.check.every is not None
    if step == total and (checks.check.at_end or checks.judges_last):
        return checks.keeps_best or checks.judges_last
    return step % steps_between(checks.check.every, total) == 0


def check_in_memory(
    checks: TrainingChecks, step: int, checkpoint: Path, run_folder: Path
) -> CheckResult | None:
    """Check the model in memory as the next claim and write its verdict; None if stopped, or short of memory.

    The verdict holds the hash of the checkpoint, which was just written of this model.
    """
    began = time.monotonic()
    device = checks.context.pair.device
    checks.context.step = step
    checks.context.reported = {(name, key) for name, key in checks.context.reported if name != "tuned"}
    claim = checks.gone_claims + len(checks.outcomes.keys() - {step}) + 1
    free_memory(device)
    try:
        with (
            undisturbed(checks.model, checks.plain),
            shards.put_together(checks.model) as is_whole,
            master.as_saved(checks.model, checks.context.pair.dtype),
            attention.beside_training(checks.model),
        ):
            checks.context.shares = is_whole
            result = interruptible(
                checks.stop,
                lambda: run_check.in_smaller_batches(
                    checks.context, lambda plan: _judge(checks, plan, claim)
                ),
            )
    except (EnvironmentTrouble, OutOfReach) as error:
        checks.events.write(Alarm("check", step, f"CHECK of step {step} failed: {error}"))
        print(f"alarm: the check of step {step} failed: {error}", flush=True)
        result = None
    free_memory(device)
    seconds = time.monotonic() - began
    checks.spent_s += seconds
    if result is None:
        return None
    models = {**result.models, "tuned": {**result.models["tuned"], **_hashes_of(checks, checkpoint)}}
    name = str(checkpoint.relative_to(run_folder))
    result = msgspec.structs.replace(
        result, step=step, checkpoint=name, models=models, seconds=round(seconds, 1)
    )
    checks.events.write(Verdict(step, msgspec.to_builtins(result)))
    checks.outcomes[step] = result
    print(f"check at step {step}, suite {result.suite}: {verdict_line(result)}; {seconds:.1f} s", flush=True)
    return result


def _hashes_of(checks: TrainingChecks, checkpoint: Path) -> dict[str, str | None]:
    """Return the hashes of a checkpoint; none on ranks that write no verdict, or if its files can't be read."""
    if collectives.rank():
        return {}
    try:
        return hashes_of(checks.context.pair.base, checkpoint, checks.context.home)
    except (OSError, FinetopError) as error:
        print(f"the verdict of {checkpoint.name} holds no hash of its weights: {error}", flush=True)
        return {}


def has_its_base(model: Any) -> bool:
    """Return True if the training model still contains its base: an adapter, with no trained weights outside it.

    Weights that belong to the adapter carry its name (PEFT's `…lora_A.default.weight`); a bias that is trained
    in the base itself does not, and stays changed when the adapter is off.
    """
    if not hasattr(model, "disable_adapter"):
        return False
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return all(model.active_adapter in name.split(".") for name in names)


class OutOfReach(Exception):
    """The base was tuned in place: it can't be scored again once its weights have changed."""


def _judge(checks: TrainingChecks, plan: BatchPlan, claim: int) -> CheckResult:
    """Judge with the batch size that the base was scored with; if it must shrink, score the base again first."""
    if plan.row_tokens < checks.base.plan.row_tokens:
        if checks.base.whole:
            raise OutOfReach("out of memory, and the base model is no longer loaded to score it again.")
        checks.base = run_check.score_base(checks.context, plan)
    return run_check.score_until_decided(checks.context, checks.base, claim=claim)


def interruptible(stop: Stop, work: Callable[[], CheckResult]) -> CheckResult | None:
    """Return the result of `work`, or None if a stop is requested before it ends, so that training can end."""
    try:
        try:
            stop.is_checking = True
            if collectives.largest([bool(stop.reason)])[0]:
                return None
            return work()
        finally:
            stop.is_checking = False
    except StopAsked:
        stop.is_checking = False
        return None


def try_longest(checks: TrainingChecks) -> None:
    """Score the batch with the most tokens on the model in memory, as a check would; discard the result."""
    prepared = checks.context.prepared
    if not prepared.batches:
        return
    batch = max(prepared.batches, key=lambda batch: tokens_of(prepared, batch))
    with (
        undisturbed(checks.model, checks.plain),
        master.as_saved(checks.model, checks.context.pair.dtype),
        attention.beside_training(checks.model),
    ):

        def try_plan(plan: BatchPlan) -> object:
            return score_batch(prepared, ScoredModel("tuned", None, lambda: checks.model, plan), batch)

        if checks.base.whole:  # smaller batches would need the base scored again, and it is gone
            try_plan(checks.base.plan)
        else:
            run_check.in_smaller_batches(checks.context, try_plan)


def tokens_of(prepared: PreparedSuite, batch: Batch) -> int:
    """Count the tokens that the model reads and generates for a batch."""
    inputs = [part for item in batch.items for part in prepared.inputs[batch.task, item]]
    return sum(len(part.tokens) + getattr(part, "max_new_tokens", 0) for part in inputs)


def react(checks: TrainingChecks, step: int, outcome: CheckResult) -> None:
    """Apply check.on_fail to a REGRESSED: raise an alarm, raise it and stop, or wait (keep-best)."""
    if outcome.verdict != "regressed" or checks.keeps_best:
        return
    what_was_lost = verdict_line(outcome).partition("  ")[2]
    text = f"REGRESSED at step {step}: {what_was_lost}"
    if checks.check.on_fail == "stop":
        checks.stop.reason = checks.stop.reason or f"{text} (check.on_fail is stop)"
        text = f"{text}; training stops"
    checks.events.write(Alarm("regressed", step, text))
    print(f"alarm: {text}", flush=True)


def best_step(checks: TrainingChecks) -> int | None:
    """Return the checkpoint to keep: the one with the lowest evaluation loss among those that are OK.

    The last of equals; without evaluation losses, the last that is OK. None if none is.
    """
    fine = [step for step, outcome in sorted(checks.outcomes.items()) if outcome.verdict == "ok"]
    measured = [step for step in fine if math.isfinite(checks.eval_losses.get(step, math.nan))]
    if measured:
        return min(measured, key=lambda step: (checks.eval_losses[step], -step))
    return fine[-1] if fine else None


def spared(checks: TrainingChecks | None) -> set[int]:
    """Return the checkpoints to keep: the best so far, and an OK one whose loss is not known yet."""
    if checks is None or not checks.keeps_best:
        return set()
    best = best_step(checks)
    newest = max((step for step, outcome in checks.outcomes.items() if outcome.verdict == "ok"), default=None)
    return {step for step in (best, newest) if step is not None}


def finish(checks: TrainingChecks | None, last_step: int) -> None:
    """Report which checkpoint is the best, or that none is OK, and the time that the checks took."""
    if checks is None:
        return
    share = 100 * checks.spent_s / max(time.monotonic() - checks.began, 1e-9)
    cost = f"{checks.spent_s:.0f} s with the base, {share:.0f} % of the time"
    print(f"checks during training: {len(checks.outcomes)}, {cost}", flush=True)
    if not checks.keeps_best or not checks.outcomes:
        return
    best = best_step(checks)
    if best is None:
        count = len(checks.outcomes)
        text = f"NO CHECKPOINT is OK: none of the {count} that were checked; the newest is kept"
        checks.events.write(Alarm("check", last_step, text))
        print(f"alarm: {text}", flush=True)
        return
    fine = sum(outcome.verdict == "ok" for outcome in checks.outcomes.values())
    loss = checks.eval_losses.get(best)
    if loss is None:
        text = f"step {best}: the last one that is OK, of {fine}"
    else:
        text = f"step {best}: OK, with the lowest evaluation loss ({loss:.4f}) of {fine} that are OK"
    checks.events.write(Best(best, text))
    print(f"kept as the best: {text}", flush=True)


def own_forwards(model: torch.nn.Module) -> Forwards:
    """Return the modules with a forward of their own: a trainer wraps some, for autocast and its fused loss."""
    return {module: module.__dict__["forward"] for module in model.modules() if "forward" in module.__dict__}


@contextmanager
def undisturbed(model: torch.nn.Module, plain: Forwards) -> Iterator[None]:
    """Prepare a training model for scoring, in evaluation mode with plain forwards; then restore everything.

    Restored: training flags, gradient flags (switching an adapter off and on sets them) and random state.
    """
    in_training = [module for module in model.modules() if module.training]
    moves = [(weight, weight.requires_grad) for weight in model.parameters()]
    wrapped = own_forwards(model)
    state = random_state.now()
    precision = torch.get_float32_matmul_precision()  # training may round products to TF32, a check must not
    torch.set_float32_matmul_precision("highest")
    model.eval()
    _carry(model, plain)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        _carry(model, wrapped)
        for module in in_training:
            module.training = True
        for weight, is_moving in moves:
            if weight.requires_grad != is_moving:
                weight.requires_grad_(is_moving)
        random_state.put_back(state)


def _carry(model: torch.nn.Module, forwards: Forwards) -> None:
    for module in model.modules():
        if module in forwards:
            module.__dict__["forward"] = forwards[module]
        else:
            module.__dict__.pop("forward", None)
