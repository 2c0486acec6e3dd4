"""Trains one run from its recipe: data, model, method, the trainer, the final checkpoint."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.check.tasks import download
from finetop.core.check.tasks.suite import Suite, find_suite, general_text
from finetop.core.data import training_set
from finetop.core.data.examples import AnyExample
from finetop.core.data.prompts import open_asker, print_skipped
from finetop.core.data.sources import Row
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import (
    attention,
    collectives,
    config_file,
    cpu_formats,
    devices,
    kernels,
    load,
    resolve,
    vllm,
)
from finetop.core.models.engine import Engine, engine_for
from finetop.core.models.forward import has_virtual_tokens
from finetop.core.models.shards import is_divided
from finetop.core.protocol.events import Alarm, Ended, Phase
from finetop.core.recipe import parallel as recipe_parallel, protections as recipe_protections
from finetop.core.recipe.length import count_steps, packs
from finetop.core.recipe.load import recipe_to_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_process import silence_libraries
from finetop.core.runtime.stop_signal import Stop
from finetop.core.train import objectives, rehearsal
from finetop.core.train.alarms import Alarms
from finetop.core.train.resume.earlier_jobs import EarlierJobs
from finetop.core.train.trainer_setup import Setup
from finetop.core.wording import rewards

if TYPE_CHECKING:
    from finetop.core.models.resolved import Moving, ResolvedModel
    from finetop.core.train.check_callback import TrainingChecks
    from finetop.core.train.resume.resume_point import ResumePoint
    from finetop.core.train.stop_early import Watch

Settle = Callable[..., tuple[Recipe, str]]


def train(
    recipe: Recipe,
    run_folder: Path,
    home: Home,
    device: str,
    events: EventLog,
    stop: Stop,
    point: ResumePoint | None = None,
    settle: Settle | None = None,
) -> Ended:
    """Run a whole training job, from the data to the final checkpoint; with `point`, resume from a checkpoint.

    `settle` decides what `auto` means, as the plan does (core/plan/settled.py); without it activations are kept.

    Raises BadInput, EnvironmentTrouble, StopAsked before the first step, and whatever the libraries raise.
    """
    objective = objectives.load(recipe.objective.name)
    require_ranks(recipe)
    with collectives.in_turn():
        asker = open_asker(recipe.ask, recipe.data.train, home, shots=False)
        print_skipped(asker)
        sources, seed = recipe_protections.with_sources(recipe), recipe.train.seed
        folder = run_folder if collectives.rank() == 0 else None
        rows = training_set.read(sources, seed, home, events, objective.rows, folder, asker)
        events.write(Phase("finding the model"))
        base = resolve.resolve_model(recipe.model, home, events)
    before = ""
    # An earlier finetop did not record the format: it chose by the CPU's instructions.
    if point is not None and point.step:
        before = point.earlier.dtype or devices.number_format(recipe.model.dtype, base.path, device)
    dtype, why = collectives.from_first(lambda: cpu_formats.choose(recipe, base.path, device, home, before))
    rehearsal.require_number_format(recipe, dtype, device)
    print(f"model: {base.id} ({base.source}), {dtype}, weights sha256 {base.weights_hash[:16]}")
    if why:
        print(why)
    if rewarded := rewards.reward_words(recipe_to_mapping(recipe)["objective"]):
        print(f"reward: {rewarded}", flush=True)
    tokenizer = objective.make_tokenizer(recipe.objective.options, base, rows)
    options, most = recipe.objective.options, recipe.data.max_tokens

    def make(some: Sequence[Row]) -> list[list[AnyExample]]:
        return objective.examples(some, options, tokenizer, most)

    examples = training_set.build(rows, recipe.data, make, recipe.train.seed, tokenizer, events)

    if collectives.rank() == 0:
        look_ahead(recipe, home, events)

    from finetop.core.models import checkpoint
    from finetop.core.train import (
        budget_callback,
        callbacks,
        check_callback,
        longest_batch,
        loss_scale,
        nan_guard,
        parallel,
        protection_callback,
        samples,
        slow_scan,
        start_gap,
        stop_early,
        target_probe,
        trainer_args,
        trainer_setup,
    )
    from finetop.core.train.meter import Meter
    from finetop.core.train.protections import Base
    from finetop.core.train.resume import random_state, resume, training_state

    silence_libraries()
    if point is not None:
        # On the first rank, which records the rows that were read: others may be here before it has.
        collectives.from_first(partial(resume.require_same, base, point))
    if collectives.rank() == 0:
        checkpoint.clear_leftovers(run_folder)
    recipe = parallel.as_before(recipe, point)
    moving = rehearsal.require(recipe, base, dtype, device, home)
    if settle is not None:
        recipe = settled(settle, recipe, base, moving, home, device, examples)
    common = trainer_args.common(recipe, dtype, device, run_folder / "checkpoints")
    events.write(Phase("loading the model"))
    random_state.seed(recipe.train.seed)
    use_tensor_cores(device)

    def load_to(place: str) -> Any:
        return objective.load_model(options, base, tokenizer, load.torch_dtype(dtype, place), place)

    loaded = parallel.load_model(recipe, base, device, load_to)
    attention.use(loaded, recipe.model.attention, device, packs=packs(recipe))
    kernels.fuse(loaded, recipe.train.kernels, device)
    at_start = Base(recipe, loaded, tokenizer, objective, run_folder, home, events)
    train_rows = collectives.from_first(lambda: protection_callback.rows(at_start, examples.train))
    examples = training_set.Examples(train_rows, examples.eval)
    model = trainer_setup.prepare(recipe, base, tokenizer, loaded, examples.train, home)
    protection_callback.hold(recipe, model)
    model = parallel.divide(recipe, model, device, dtype)
    slow_scan.report(model, events)
    if point is None:
        start_gap.report(recipe.method.name, model, examples.train, events)
    setup = Setup(
        recipe=recipe,
        base=base,
        tokenizer=tokenizer,
        model=model,
        dtype=dtype,
        device=device,
        run_folder=run_folder,
        home=home,
        events=events,
        train=examples.train,
        eval=examples.eval,
        arguments=common,
        engine=engine_of(recipe, model, device, dtype),
    )
    checks = check_callback.begin(setup, stop)
    check_callback.go_on(checks, point)
    probe = target_probe.begin(setup)
    progress = stop_early.begin(recipe, point)
    require_watched(progress, checks, examples.eval)
    prompts = samples.as_prompts(recipe.samples.prompts) or rows.prompts(recipe.samples.count)
    prompts = prompts[: recipe.samples.count] if objective.writes else []
    text = general_text(recipe, home) if objective.writes else None
    events.write(Phase("preparing the trainer"))
    earlier = EarlierJobs() if point is None else point.earlier
    alarms = Alarms(recipe, events)
    meter = Meter(events, device, objective.metrics, alarms, earlier.spent_s, earlier.energy_wh)
    pacer = callbacks.Pacer(setup, prompts, text, meter, stop, checks, progress)
    watch = nan_guard.NanGuard(recipe.train.stop_on_nan)
    scale = loss_scale.LossScale()
    setup.hooks = [scale, meter, budget_callback.Budget(recipe.budget, meter, stop), pacer, watch]
    setup.hooks += [probe] if probe is not None else []
    trainer = trainer_setup.make_trainer(objective.make_trainer, setup)
    scale.watch(trainer)
    protection_callback.begin(setup, trainer)
    copies = objective.copies(recipe.objective.options)
    rows_learned = len(trainer.train_dataset) * copies
    trainer.args.max_steps = count_steps(recipe.train, rows_learned, collectives.count())
    longest_batch.try_worst(trainer, recipe, device, events, checks)
    resume.repeatable(trainer, recipe.train.seed)
    pacer.evaluate = trainer.evaluate
    pacer.keep_state = partial(training_state.keep, trainer) if recipe.train.resumable else None
    resume.announce(point, run_folder, trainer.args.max_steps, events)
    if collectives.rank():  # dropout must differ between ranks
        random_state.seed(recipe.train.seed + collectives.rank())
    stop.is_training = True
    resume.train(trainer, point, meter)
    nan_guard.require(watch, trainer.model, recipe, run_folder)
    events.write(Phase("writing the final checkpoint"))
    step = trainer.state.global_step
    checkpoint.write(trainer.model, tokenizer, base, run_folder, step, events, pacer.keep_state)
    if collectives.rank() == 0:
        spared = check_callback.spared(checks) | stop_early.spared(progress)
        checkpoint.prune(run_folder, recipe.train.keep_checkpoints, spared)
    check_callback.finish(checks, step)
    stop_early.finish(progress, run_folder, events)
    if stop.reason and step < trainer.state.max_steps:
        reason = f"{stop.reason}, after step {step} of {trainer.state.max_steps}"
        return Ended("stopped", reason, kind="asked" if stop.is_asked else "")
    if probe is not None:
        probe.finish(step)
    return Ended("finished", "" if progress is None else progress.reason)


def settled(
    settle: Settle,
    recipe: Recipe,
    base: ResolvedModel,
    moving: Moving,
    home: Home,
    device: str,
    examples: training_set.Examples,
) -> Recipe:
    """Return the recipe with what `auto` means here, the same on all ranks; print what is on by it."""
    config = config_file.read(base.path / "config.json")
    total = devices.memory_of(device, recipe.budget.memory_gib)
    longest = max(example.tokens for example in (*examples.train, *examples.eval))
    facts = recipe, config, moving, home, device, total, longest, collectives.count()
    decided, why = collectives.from_first(lambda: settle(*facts))
    for words in why:
        print(words, flush=True)
    return decided


def require_watched(
    watch: Watch | None, checks: TrainingChecks | None, evaluation: Sequence[AnyExample]
) -> None:
    """Check that the metric of train.stop_early and train.keep is measured. Raises BadInput."""
    if watch is None:
        return
    if watch.of_target and checks is not None:
        checks.judges_last = watch.judges_last
        if checks.context.target_failed:
            message = f"train.stop_early watches the target, which can't be measured: {checks.context.target_failed}"
            raise BadInput(message, hint="Fix check.target, or watch eval_loss.")
    elif not watch.of_target and not evaluation:
        message = f"{watch.name} is watched, but no rows are held out for evaluation: there are too few."
        raise BadInput(message, hint="Name rows in data.eval, or leave train.stop_early and train.keep out.")


def engine_of(recipe: Recipe, model: Any, device: str, dtype: str) -> Engine:
    """Return the engine that generates answers during training; exact for sharded weights. Raises BadInput."""
    if recipe.model.engine == "vllm":
        vllm.require(device)
    if is_divided(model):
        return "exact"
    learned_tokens = has_virtual_tokens(model)
    return engine_for(recipe.model.engine, device, dtype, model.config, learned_tokens=learned_tokens)


def use_tensor_cores(device: str) -> None:
    """Allow a GPU's float32 products to use its tensor cores (TF32)."""
    import torch

    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")


def require_ranks(recipe: Recipe) -> None:
    """Refuse what can't train in the present number of processes. Raises BadInput."""
    if collectives.count() > 1:
        for _, message, hint in recipe_parallel.of_ranks(recipe, collectives.count()):
            raise BadInput(message, hint=hint)


def require_device(recipe: Recipe, device: str) -> None:
    """Refuse to train on the CPU if the recipe asks for a GPU. Raises EnvironmentTrouble."""
    if recipe.budget.gpus and not device.startswith("cuda"):
        hint = "Set budget.gpus to 0 to train on the CPU, or see finetop doctor."
        message = f"budget.gpus is {recipe.budget.gpus}, but no GPU can be used here."
        raise EnvironmentTrouble(message, hint=hint)


def look_ahead(recipe: Recipe, home: Home, events: EventLog) -> threading.Thread | None:
    """Fetch the data of the suite's tasks while the model trains; an alarm names tasks that can't be reached.

    None if there is nothing to fetch, or if a check during training opens them before the first step. Raises
    NotFound or BadInput for a suite that can't be read.
    """
    general = recipe.check.general
    if general is None or not recipe.check.at_end:
        return None
    suite = find_suite(general.suite, home)
    if recipe.check.every is not None or all(task.data is not None for task in suite.tasks):
        return None
    thread = threading.Thread(target=_fetch, args=(general.suite, suite, home, events), daemon=True)
    thread.start()
    return thread


def _fetch(name: str, suite: Suite, home: Home, events: EventLog) -> None:
    """Fetch in a separate process: its libraries would stay in the trainer's memory."""
    command, environment = download.command(name, home), {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✗")]
    what = ", ".join(failed) or (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
    text = f"the check at the end can't open {suite.name}: {what} (see `finetop suites {name} --fetch`)"
    events.write(Alarm("suite", 0, text))
    print(f"alarm: {text}", flush=True)
