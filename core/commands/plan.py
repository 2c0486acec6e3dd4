"""`finetop plan RECIPE`: whether it fits and how long it takes; nothing is loaded, queued or downloaded."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from finetop.core.client import past_runs
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.commands.shared.status_line import status_line
from finetop.core.errors import BadInput, FinetopError
from finetop.core.models import rehearsed
from finetop.core.models.shape import Shape
from finetop.core.plan import inputs
from finetop.core.plan.ahead import RunChecker
from finetop.core.plan.estimate import estimate
from finetop.core.plan.machine import Machine, as_measured, read_machine
from finetop.core.plan.rehearsal import Rehearsal
from finetop.core.plan.result import Disk, Plan, Sampled, Steps, Time
from finetop.core.plan.shape import billions, read_shape
from finetop.core.plan.workload import Known
from finetop.core.recipe import load as recipes, references
from finetop.core.recipe.command import require_ours
from finetop.core.recipe.load import FileCheck, Loaded, load_recipe
from finetop.core.recipe.references import is_reference
from finetop.core.recipe.schema import Model, Recipe
from finetop.core.recipe.stages import Chain, load_chain
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, counted
from finetop.core.wording import rewards
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import GIB, gib_of

WIDTH = 80
MARKS = {"fits": "✓ ", "tight": "! ", "no": "✗ ", "unknown": "? "}
VERDICTS = {
    "fits": "fits",
    "tight": "tight: it may fit, with no headroom",
    "no": "does NOT fit",
    "unknown": "GPU memory unknown: give --gpu-memory GIB",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "recipe", "RECIPE", "a built-in recipe's name, or a .yaml file")
    options.settings(parser, "change one setting: train.batch_size=1")
    about = "the model's config.json or folder, if the model is not downloaded yet"
    options.path(parser, "--config", "PATH", about)
    options.value(parser, "--gpus", "N", "plan for N GPUs (default: the recipe's)", type=options.count)
    options.value(parser, "--gpu-memory", "GIB", "plan for a GPU with this much memory", type=float)


def run(args: argparse.Namespace, home: Home) -> int:
    chain = load_chain(args.recipe, args.set)
    require_valid_gpus(args)
    if chain is None:
        parts = {"": load_recipe(args.recipe, args.set)}
        require_ours(parts[""].recipe, "finetop plan")
    else:
        stages = {stage.name: stage.loaded for stage in chain.stages}
        parts = {name: replace(its, recipe=on_its_base(its.recipe, chain)) for name, its in stages.items()}
    plans: dict[str, Plan] = {}
    for stage, loaded in parts.items():
        of_stage = f"stage {stage}: " if stage else ""
        with status_line(of_stage, shows=not args.json and sys.stdout.isatty()) as show:
            plan = plan_of(args, home, loaded, show)
        if not args.json:
            if stage:
                print("\n" if plans else "", f"stage {stage}", sep="")
            print(*report(loaded.recipe, plan, args.config or loaded.recipe.model.id), sep="\n")
        plans[stage] = plan
    if args.json and chain is not None:
        print_json({"stages": [{"stage": stage, "plan": plain(plan)} for stage, plan in plans.items()]})
    elif args.json:
        print_json({"plan": plain(plans[""])})
    hosts = [plan.host for plan in plans.values() if plan.host is not None]
    return int(any(plan.verdict == "no" for plan in plans.values()) or any(host.lacks for host in hosts))


def plan_of(args: argparse.Namespace, home: Home, loaded: Loaded, show: Callable[[str], None]) -> Plan:
    """Plan one run, showing what takes long; refuse what its job would refuse. Raises BadInput, EnvironmentTrouble."""
    recipe = loaded.recipe
    if recipe.data.train:
        recipes.check_files(loaded, None if args.config is None else skipping_model(recipe.model.id))
    model_config = inputs.find_config(recipe.model, home, args.config)
    machine = machine_for(args, recipe, home)
    rehearsal = Rehearsal(recipe, model_config.file, machine, home)
    try:
        show("reading the data …")
        findings_ahead = RunChecker(home).check(recipe, model_config)
        findings_ahead.raise_first()
        if rehearsal.kept is None:
            show("loading the training code to count what it trains …")
        rehearsed = rehearsal.answer()
        show("estimating …")
        machine = as_measured(machine)
    finally:
        rehearsal.stop()
    past, teacher = past_runs.past_runs(home), teacher_of(recipe, home)
    known = Known(findings_ahead.lengths, past, teacher=teacher, moving=rehearsed, note=model_config.note)
    return estimate(recipe, model_config.config, machine, known, gpus=args.gpus)


def on_its_base(recipe: Recipe, chain: Chain) -> Recipe:
    """Replace a reference to a stage by the model that the chain's first stage begins from: it has the same shape."""
    models = {stage.name: stage.loaded.recipe.model for stage in chain.stages}
    model = recipe.model
    while is_reference(model.id) and (reference := references.parse(model.id, "model.id")).kind == "stage":
        model = models[reference.name]
    return structs.replace(recipe, model=structs.replace(recipe.model, id=model.id, revision=model.revision))


def skipping_model(model: str) -> FileCheck:
    """Return a file check that skips the model, whose config.json was given."""

    def check_path(path: Path, is_folder: bool | None) -> tuple[str, str]:
        return ("", "") if is_folder and str(path) == model else recipes.file_problem(path, is_folder)

    return check_path


def require_valid_gpus(args: argparse.Namespace) -> None:
    """Refuse numbers out of range. Raises BadInput."""
    if args.gpus is not None and not 1 <= args.gpus <= 1024:
        raise BadInput(f"--gpus is {args.gpus}; it must be 1 to 1024.")
    if args.gpu_memory is not None and not (math.isfinite(args.gpu_memory) and args.gpu_memory > 0):
        raise BadInput(f"--gpu-memory is {args.gpu_memory}; it must be above 0.", hint="Give GiB, say 24.")


def machine_for(args: argparse.Namespace, recipe: Recipe, home: Home) -> Machine:
    """Return the machine to plan for: the GPU described by options, the recipe's, or this machine's."""
    here = read_machine(home.root)
    wants_gpu = args.gpus is not None or args.gpu_memory is not None or bool(recipe.budget.gpus)
    if wants_gpu and here.device != "gpu":
        here = Machine("gpu", "a GPU", None, free_disk=here.free_disk)
    elif recipe.budget.gpus == 0 and here.device == "gpu" and not wants_gpu:
        here = read_machine(home.root, use_gpu=False)
    if args.gpu_memory is not None:
        return replace(here, name="a GPU", memory=args.gpu_memory * GIB, has_bfloat16=True)
    return here


def teacher_of(recipe: Recipe, home: Home) -> Shape | None:
    """Return the shape of the teacher that the objective names, if it is here."""
    teacher = getattr(recipe.objective.options, "teacher", None)
    if not isinstance(teacher, str):
        return None
    try:
        model_config = inputs.find_config(Model(id=teacher), home)
        return rehearsed.shape_of(recipe, model_config.file, home) or read_shape(model_config.config)
    except FinetopError:
        return None


def report(recipe: Recipe, plan: Plan, model: str) -> Iterator[str]:
    """Yield a plan as lines of at most 80 columns; `model` is its id, or where its config was read."""
    name = clean_line(model, limit=200).rstrip("/").rsplit("/", 1)[-1]
    yield from wrapped(
        f"{recipe.name}: {recipe.objective.name} with {recipe.method.name} on {name}, {billions(plan.parameters)}"
        f" parameters ({plan.family}), of which {billions(plan.trainable)} are trained ({plan.dtype})"
    )
    if reward_text := rewards.reward_words(recipes.recipe_to_mapping(recipe)["objective"]):
        yield from labelled("reward", reward_text)
    yield ""
    yield from memory_lines(plan)
    yield ""
    if plan.steps is not None:
        yield from labelled("data", data_words(plan.steps))
        yield from labelled("steps", steps_words(plan.steps))
    yield from labelled("time", time_words(plan.time, plan.steps))
    yield from labelled("disk", disk_words(plan.disk))
    for note in plan.notes:
        yield from labelled("note", note)


def memory_lines(plan: Plan) -> Iterator[str]:
    where = plan.device_name if plan.capacity is None else f"{plan.device_name}, {gib_of(plan.capacity)} GiB"
    where += "" if plan.device == "gpu" else " free"
    yield f"memory  GiB on {clean_line(where, limit=60)}"
    for part in plan.parts:
        yield f"  {part.name:<16}{gib_of(part.bytes):>8}"
    most = f", most in {plan.phase}" if plan.phase else ""
    yield f"  {'estimate':<16}{gib_of(plan.estimate):>8}{most}"
    yield f"  {'with margin':<16}{gib_of(plan.need):>8}"
    yield from wrapped(VERDICTS[plan.verdict], mark=MARKS[plan.verdict])
    if plan.fix is not None:
        yield from wrapped(f"fits with {plan.fix.text} ({gib_of(plan.fix.need)} GiB with margin):")
        yield "  " + " ".join(f"--set {shlex.quote(setting)}" for setting in plan.fix.sets)
    elif plan.verdict in ("tight", "no"):
        yield "no known change makes it fit: use a smaller model"
    for sharding in plan.sharded:
        yield f"  each of {plan.gpus} GPUs, {sharding.way:<42}{gib_of(sharding.bytes):>8}"
    if plan.host is not None:
        yield f"  memory of each machine, {f'{plan.host.ranks} ranks on it':<34}{gib_of(plan.host.bytes):>8}"
        if plan.host.lacks:
            total = gib_of(plan.host.total or 0.0)
            yield from wrapped(f"does NOT fit: this machine has {total} GiB", mark="✗ ")


def data_words(steps: Steps) -> str:
    sample = steps.sampled
    about = "about " if sample else ""
    rows = about_words(steps.rows, " rows", None if sample is None else sample.rows, sample)
    edges = None if sample is None else sample.tokens_per_epoch
    tokens = about_words(steps.tokens_per_epoch, " tokens an epoch", edges)
    aside = f", {about}{steps.eval_rows:,} for evaluation" if steps.eval_rows else ""
    written = f", {steps.written:,} of them generated by the base" if steps.written else ""
    packed = "" if steps.sequences is None else f", packed into {about}{steps.sequences:,} sequences"
    too_long = f"; {about}{steps.too_long:,} rows are longer than data.max_tokens" if steps.too_long else ""
    unlearned = counted(steps.unlearned, "row with nothing to learn", "rows with nothing to learn")
    left_out = f"; {about}{unlearned} left out" if steps.unlearned else ""
    longest = f"longest {steps.longest:,} ({steps.how})"
    return f"{rows}{written}{aside}, {tokens}, {longest}{packed}{too_long}{left_out}"


def about_words(number: int, noun: str, edges: tuple[int, int] | None, sample: Sampled | None = None) -> str:
    """Write a count; if it was estimated from a sample of the rows, with its 95 % interval."""
    if edges is None or (edges[0] == edges[1] == number and sample is None):
        return f"{number:,}{noun}"
    read = "" if sample is None else f"; {sample.read:,} of {sample.of:,} rows read"
    return f"about {number:,}{noun} ({edges[0]:,} to {edges[1]:,}{read})"


def steps_words(steps: Steps) -> str:
    number = about_words(steps.steps, "", None if steps.sampled is None else steps.sampled.steps)
    return f"{number} of {steps.rows_per_step} rows, {steps.tokens:,} tokens in total"


def time_words(time: Time | None, steps: Steps | None) -> str:
    if time is None:
        return "unknown: " + ("no data file was read" if steps is None else "no earlier run, no known card")
    about = "about " if time.is_measured else "perhaps "
    parts = {
        "its start": time.starting,
        "generating answers": time.writing,
        "evaluation": time.evaluation,
        "checkpoints": time.saving,
    }
    named = ", ".join(f"{name} {long_span(part)}" for name, part in parts.items() if part >= 1)
    within = f", including {named}" if named else ""
    rate = f"{time.tokens_per_s:,.0f} tokens/s ({time.source})"
    return f"{about}{long_span(time.seconds)}, at {rate}{within}; checks not included"


def disk_words(disk: Disk) -> str:
    free = "" if disk.free is None else f"; {gib_of(disk.free)} GiB free"
    short = "" if disk.free is None or disk.total <= disk.free else " - NOT ENOUGH"
    return (
        f"{gib_of(disk.total)} GiB: {counted(disk.kept, 'checkpoint')} of {gib_of(disk.checkpoint)} GiB,"
        f" each with {gib_of(disk.optimizer)} GiB of optimizer state{free}{short}"
    )


def labelled(label: str, text: str) -> Iterator[str]:
    yield from wrapped(text, mark=f"{label:<8}")


def wrapped(text: str, mark: str = "") -> Iterator[str]:
    """Wrap a text, with the mark before it and later lines indented."""
    yield from textwrap.wrap(
        clean_line(text), WIDTH, initial_indent=mark, subsequent_indent=" " * max(2, len(mark)),
        break_on_hyphens=False,
    )  # fmt: skip


ABOUT = "predict memory, time and disk of a run before it starts"
PLUGIN = Command(ABOUT, "run", run, arguments, is_remote=False)
