"""The plan of a run: memory by part and a verdict, the cheapest change that makes it fit; with steps, time and disk.

`estimate` is pure and takes about a millisecond: what it needs to know of files and the machine is passed in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.models import cpu_formats, weight_formats
from finetop.core.models.attention import best_kernel
from finetop.core.models.resolved import Moving
from finetop.core.models.shape import Shape
from finetop.core.plan import answers, memory, schedule
from finetop.core.plan.changes import Change, changes
from finetop.core.plan.memory import Workload
from finetop.core.plan.method_options import Trained
from finetop.core.plan.result import Fix, Host, Plan, Sharded, Verdict
from finetop.core.plan.schedule import Extras, PastRun, disk_of, extras_of, steps_of, time_of
from finetop.core.plan.shape import read_shape
from finetop.core.plan.trainable import trained
from finetop.core.plugins import METHODS, OBJECTIVES
from finetop.core.recipe import number_format, protections as recipe_protections
from finetop.core.recipe.master import STATES_8BIT, STATES_32BIT, held_in, optimizer_bytes
from finetop.core.recipe.parallel import of_ranks, reads_once, way_of
from finetop.core.recipe.protections import Problem, Sizes
from finetop.core.recipe.schema import Attention, EngineChoice, Recipe
from finetop.core.runtime import compiler
from finetop.core.wording.units import gib_of

if TYPE_CHECKING:
    from finetop.core.plan.lengths import Lengths
    from finetop.core.plan.machine import Machine

NUMBER_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
UNBUILT = Moving()
TOLD_SHARE = 0.01  # of the trained numbers: a larger 32-bit share of an 8-bit optimizer is noted


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside a recipe: its data, earlier runs here, a teacher's config."""

    lengths: Lengths | None = None
    past: Sequence[PastRun] = ()
    teacher: Shape | None = None
    moving: Moving = UNBUILT  # as the job's own code has built and counted it
    note: str = ""  # on where the model's config comes from


def estimate(
    recipe: Recipe,
    config: Mapping[str, Any],
    machine: Machine,
    known: Known | None = None,
    *,
    gpus: int | None = None,
) -> Plan:
    """Plan a run of a recipe on a machine, from the model's config.json.

    `gpus` overrides the recipe's. Without lengths every row is assumed to be as long as data.max_tokens. Raises
    BadInput for a config that is not a model's.
    """
    known = known or Known()
    shape = known.moving.shape or shape_of(recipe, config)
    count = gpus if gpus is not None else (recipe.budget.gpus or 1)
    work = workload(recipe, shape, machine, known, count)
    parts = memory.parts(work)
    capacity = capacity_of(recipe, machine)
    need = memory.need(parts, on_gpu=work.on_gpu)
    verdict = judge(memory.total(parts), need, capacity)
    fix = None
    if capacity is not None and verdict in ("tight", "no"):
        fix = find_fix(recipe, shape, machine, known, capacity, count)
    steps = None if known.lengths is None else steps_of(recipe, known.lengths, count)
    disk = disk_of(recipe, shape, work, machine, steps)
    return Plan(
        model=recipe.model.id,
        family=shape.family or "unknown",
        parameters=shape.parameters,
        trainable=work.trained.numbers,
        device=machine.device,
        device_name=machine.name,
        dtype=dtype_of(recipe, shape, machine),
        parts=parts,
        estimate=memory.total(parts),
        need=need,
        capacity=capacity,
        verdict=verdict,
        fix=fix,
        gpus=count,
        sharded=ways(recipe, shape, machine, known, count) if count > 1 else (),
        steps=steps,
        time=None
        if steps is None or known.lengths is None
        else time_of(
            recipe,
            shape,
            work,
            machine,
            known.past,
            steps,
            disk,
            count,
            eval_tokens=known.lengths.eval_tokens,
            teacher=teacher_of(recipe, shape, known),
        ),
        disk=disk,
        notes=tuple(notes(recipe, shape, work, known, machine, count)),
        host=host_of(recipe, config, shape, work, known, machine),
    )


def host_of(
    recipe: Recipe, config: Mapping[str, Any], shape: Shape, work: Workload, known: Known, machine: Machine
) -> Host | None:
    """Return a machine's memory use beside its GPUs, if they share a model; None if it is not sharded."""
    if not (work.divided and work.on_gpu):
        return None
    lengths, here = known.lengths, -(-work.ranks // (recipe.budget.nodes or 1))
    tokens = 0.0 if lengths is None else lengths.tokens + lengths.eval_tokens
    # The file may not have fused experts.
    is_new = recipe.objective.name == "pretrain" or bool(shape.experts)
    converts = is_new or saved_bytes(shape) != work.compute_bytes
    readers = 1 if reads_once(recipe, config) else here
    needed = memory.host_memory(work, tokens, here, readers=readers, converts=converts)
    return Host(here, needed, machine.host)


def shape_of(recipe: Recipe, config: Mapping[str, Any]) -> Shape:
    """Guess the model's shape from its config; of a model made anew, in the sizes that the objective says."""
    base = read_shape(config)
    objective = OBJECTIVES.load(recipe.objective.name)
    new = objective.sizes(recipe.objective.options, base.hidden, base.heads, base.vocabulary)
    return read_shape({**config, **new}) if new else base


def workload(recipe: Recipe, shape: Shape, machine: Machine, known: Known, ranks: int = 1) -> Workload:
    """Return the numbers of a training step of this recipe on each of `ranks` GPUs of this machine."""
    train, extras = recipe.train, extras_of(recipe.objective.name)
    moving = trained(shape, recipe.method.name, recipe.method.options)
    if known.moving.trainable is not None:
        beside = known.moving.trainable if moving.beside else 0
        wide = min(moving.wide, known.moving.trainable)
        moving = dataclasses.replace(moving, numbers=known.moving.trainable, beside=beside, wide=wide)
    on_gpu = machine.device == "gpu"
    dtype = dtype_of(recipe, shape, machine)
    size, flash = NUMBER_BYTES[dtype], on_gpu and machine.has_bfloat16
    is_beside = bool(moving.beside)
    is_divided = way_of(recipe, max(1, ranks)) == "fsdp"
    master = not is_divided and is_master(recipe, shape, moving, dtype, machine)
    moving_bytes = 4.0 if is_beside or is_divided or master else size  # PEFT makes adapters in float32
    packs = bool(getattr(recipe.objective.options, "packing", False))
    longest = recipe.data.max_tokens
    if known.lengths is not None and known.lengths.longest and not packs:
        kept = known.lengths.longest_kept
        longest = min(longest, known.lengths.longest if kept is None else kept)
    written = int(getattr(recipe.objective.options, "max_new_tokens", 0)) if extras.writes else 0
    sizes = Sizes(moving.numbers, moving_bytes, shape.vocabulary)
    engine = answers.engine_of(recipe, on_gpu=on_gpu, flash=flash) if extras.writes else "exact"
    cache = 0.0
    if extras.writes:
        cache = answers.held(engine, recipe, shape, longest + written, size, on_gpu=on_gpu, flash=flash)
    has_any = recipe.protect != type(recipe.protect)()  # computing it reads the disk
    held = recipe_protections.memory(recipe, sizes) if has_any else recipe_protections.Memory()
    held_as = weight_formats.load(recipe.model.quantize)
    return Workload(
        shape=shape,
        trained=moving,
        batch_size=train.batch_size * extras.texts_per_row,
        sequence=longest + written,
        on_gpu=on_gpu,
        weight_bytes=4.0 if is_divided and not is_beside else size,
        compute_bytes=size,
        linear_bytes=held_as.linear_bytes,
        unpacked_bytes=held_as.unpacked_bytes,
        trained_bytes=moving_bytes,
        optimizer_bytes=optimizer_bytes(train, moving_bytes, moving.wide / max(1, moving.numbers)),
        accumulates=train.grad_accumulation > 1,
        checkpointing=checkpoints(recipe),
        chunked_loss=not extras.whole_logits,
        masked=mask_cells(recipe, shape, moving, longest + written, extras, on_gpu=on_gpu, flash=flash),
        keeps_scores=recipe.model.attention == "eager",
        fused_kernels=train.kernels == "liger",
        master=master,
        frozen_models=_other_models(recipe, shape, size, is_beside, known),
        protections=held.on_device + (0.0 if on_gpu else held.on_host),
        token_extras=_token_extras(shape, extras, size, engine),
        answers=cache,
        engine=answers.beside(recipe, engine, shape.parameters * size),
        has_logits=not extras.no_logits,
        logit_tokens=written if extras.writes and extras.whole_logits else None,
        quantized_keeps_inputs=held_as.keeps_inputs,
        file_bytes=0.0 if on_gpu else _file_bytes(recipe, shape, size),
        data_tokens=0.0
        if on_gpu or known.lengths is None
        else known.lengths.tokens + known.lengths.eval_tokens,
        ranks=max(1, ranks),
        divided=is_divided,
    )


def is_master(recipe: Recipe, shape: Shape, moving: Trained, dtype: str, machine: Machine) -> bool:
    """Return whether the model's own weights are held in float32 for 16-bit arithmetic, as in core/train/master.py."""
    if dtype == "float32" or moving.beside or METHODS.load(recipe.method.name).keeps_base:
        return False
    still, wide = max(0, shape.parameters - moving.numbers), moving.wide / max(1, moving.numbers)
    memory, in_float16 = capacity_of(recipe, machine), dtype == "float16"
    held = held_in(recipe.train, 2.0, moving.numbers, still, memory, wide, in_float16=in_float16)
    return held == "float32"


def mask_cells(
    recipe: Recipe,
    shape: Shape,
    moving: Trained,
    sequence: int,
    extras: Extras,
    *,
    on_gpu: bool,
    flash: bool = True,
) -> float:
    """Return the cells of a batch's attention mask; 0 if batches are right-padded, or kernels need none.

    Packed rows form one sequence, in which every token has a cell for every other.
    """
    rows = recipe.train.batch_size * extras.texts_per_row
    packs = bool(getattr(recipe.objective.options, "packing", False))
    kernel, _ = attention_of(recipe, shape, on_gpu=on_gpu, flash=flash)
    if kernel in ("flash_attention_2", "flex"):
        return 0.0
    tokens = float(sequence + moving.virtual_tokens)
    if packs:
        return (rows * tokens) ** 2
    return rows * tokens**2 if extras.writes or moving.virtual_tokens else 0.0


def attention_of(recipe: Recipe, shape: Shape, *, on_gpu: bool, flash: bool = True) -> tuple[Attention, str]:
    """Return the attention that the run trains with, and what its packed rows lack, as the job chooses both."""
    if recipe.model.attention != "auto":
        return recipe.model.attention, ""
    packs = bool(getattr(recipe.objective.options, "packing", False))
    return best_kernel(on_gpu=on_gpu, packs=packs, flash=flash, flex_fault=shape.flex_fault)


def _file_bytes(recipe: Recipe, shape: Shape, size: float) -> float:
    """Return the bytes of the weights' file beside the model made from it; 0 if the model uses the file's numbers.

    transformers maps the file, and its pages stay until the last weight is made.
    """
    saved = saved_bytes(shape)
    if recipe.objective.name == "pretrain" or (recipe.model.quantize == "none" and saved == size):
        return 0.0
    return shape.parameters * saved


def saved_bytes(shape: Shape) -> float:
    """Return the bytes of a number in the weights' file."""
    return NUMBER_BYTES.get(shape.dtype.removeprefix("torch."), 4.0)


def checkpoints(recipe: Recipe) -> bool:
    """Return whether activations are recomputed instead of kept."""
    return bool(recipe.train.activation_checkpointing or recipe.trainer_args.get("activation_checkpointing"))


def _other_models(recipe: Recipe, shape: Shape, size: float, is_adapter: bool, known: Known) -> float:
    extras, own = extras_of(recipe.objective.name), shape.parameters * size
    judged = bool(getattr(getattr(recipe.objective.options, "reward", None), "model", None))
    teacher = teacher_of(recipe, shape, known)
    taught = 0.0 if teacher is None else teacher.parameters * size
    return own * (judged + (extras.reference and not is_adapter)) + taught


def teacher_of(recipe: Recipe, shape: Shape, known: Known) -> Shape | None:
    """Return the teacher's shape; assumed to be the model's if nothing is known of it."""
    if not extras_of(recipe.objective.name).teacher:
        return None
    return known.teacher or shape


def _token_extras(shape: Shape, extras: Extras, size: float, engine: EngineChoice) -> float:
    """Return the bytes that an objective adds for each token of the batch: kept keys and values, a teacher's logits."""
    kept = 2 * shape.layers * shape.key_width * size if extras.writes and engine == "exact" else 0.0
    return kept + max(0, extras.whole_logits - 1) * shape.vocabulary * size


def dtype_of(recipe: Recipe, shape: Shape, machine: Machine) -> str:
    """Return the number format that the run computes in, as core/models chooses it."""
    on_cpu = machine.device == "cpu"
    saved, has_it = saved_in(shape), machine.has_bfloat16
    wanted = number_format.chosen(recipe.model.dtype, saved, on_cpu=on_cpu, has_bfloat16=has_it)
    if wanted not in NUMBER_BYTES:
        return "float32"
    if not on_cpu:
        return wanted
    return _on_cpu(wanted, recipe, shape, machine)[0]


def saved_in(shape: Shape) -> str:
    """Return the number format that a model was saved in."""
    return shape.dtype.removeprefix("torch.")


def refusals(recipe: Recipe, shape: Shape, machine: Machine, ranks: int = 1) -> Iterator[Problem]:
    """Yield what the job would refuse about the number format on this machine."""
    dtype, on_cpu = dtype_of(recipe, shape, machine), machine.device == "cpu"
    card, has_it = machine.name, machine.has_bfloat16
    return number_format.refusals(recipe, dtype, card, on_cpu=on_cpu, has_bfloat16=has_it, ranks=ranks)


def _on_cpu(wanted: str, recipe: Recipe, shape: Shape, machine: Machine) -> tuple[str, str]:
    """Return the number format used by a CPU with bfloat16 instructions, and why."""
    count = 0.0 if recipe.model.quantize != "none" else float(shape.parameters)
    only_16_bit = cpu_formats.only_16_bit(recipe)
    total = machine.total or math.inf
    return cpu_formats.train_in(wanted, machine.speeds, count, total, only_16_bit=only_16_bit)


def capacity_of(recipe: Recipe, machine: Machine) -> float | None:
    """Return the memory that the run may use, in bytes."""
    budget = recipe.budget.memory_gib
    if budget is None or machine.device != "gpu":
        return machine.memory
    return min(budget * 2**30, math.inf if machine.memory is None else machine.memory)


def judge(estimated: float, need: float, capacity: float | None) -> Verdict:
    """Return "fits" if the estimate with its margin fits, "tight" if only the estimate does, else "no"."""
    if capacity is None:
        return "unknown"
    if need <= capacity:
        return "fits"
    return "tight" if estimated <= capacity else "no"


def find_fix(
    recipe: Recipe, shape: Shape, machine: Machine, known: Known, capacity: float, ranks: int = 1
) -> Fix | None:
    """Return the cheapest change with which the run fits, or None."""
    known = dataclasses.replace(known, moving=UNBUILT)  # it was counted for this method
    for change in changes(recipe, in_float16=dtype_of(recipe, shape, machine) == "float16"):
        parts = memory.parts(workload(change.recipe, shape, machine, known, ranks))
        need = memory.need(parts, on_gpu=machine.device == "gpu")
        if need <= capacity:
            return _fix(change, need)
    return None


def _fix(change: Change, need: float) -> Fix:
    return Fix(change.text, change.sets, need)


WAYS: dict[Literal["ddp", "fsdp"], str] = {"ddp": "a copy on each (ddp)", "fsdp": "weights sharded (fsdp)"}


def ways(recipe: Recipe, shape: Shape, machine: Machine, known: Known, ranks: int) -> tuple[Sharded, ...]:
    """Return what each GPU holds in each way the recipe can train on several (core/recipe/parallel.py)."""
    sharded = []
    for way in WAYS:
        train = msgspec.structs.replace(recipe.train, parallel=way)
        variant = msgspec.structs.replace(recipe, train=train)
        if not list(of_ranks(variant, ranks)):
            parts = memory.parts(workload(variant, shape, machine, known, ranks))
            sharded.append(Sharded(WAYS[way], memory.total(parts)))
    return tuple(sharded)


def notes(
    recipe: Recipe, shape: Shape, work: Workload, known: Known, machine: Machine, ranks: int = 1
) -> list[str]:
    """Return notes on how the numbers were found."""
    lines = [f"{message} {hint}" for _, message, hint in (of_ranks(recipe, ranks) if ranks > 1 else ())]
    lines += [known.note] if known.note else []
    if not shape.is_known:
        named = f"family {shape.family}" if shape.family else "a config without model_type"
        lines.append(f"{named} is unknown: estimated as a Llama of the same size.")
    if not work.trained.is_known:
        lines.append(f"method {recipe.method.name} has no formula: estimated as LoRA.")
    if recipe_protections.chosen(recipe).get("mask_surprising") is not None:
        lines.append("protect.mask_surprising drops rows in which the base finds every token too unlikely.")
    if recipe.train.optimizer in STATES_8BIT and work.trained.wide > work.trained.numbers * TOLD_SHARE:
        wide = work.trained.wide * STATES_32BIT
        lines.append(
            f"{recipe.train.optimizer} keeps its state of the embeddings in 32 bits: {gib_of(wide)} of the "
            f"{gib_of(work.trained.numbers * work.optimizer_bytes)} GiB of optimizer state."
        )
    extras = extras_of(recipe.objective.name)
    if not extras.is_known:
        lines.append(f"objective {recipe.objective.name} has no formula: estimated as sft.")
    if work.frozen_models and extras.writes:
        lines.append("the reward model is assumed to be as large as the trained one.")
    if extras.writes:
        lines.append("answers are assumed to have objective.max_new_tokens tokens.")
    if extras.teacher and known.teacher is None:
        lines.append("the teacher is assumed to be as large as the model: its config.json is not here.")
    if known.lengths is None:
        lines.append(f"no data file was read: every row is assumed to have {recipe.data.max_tokens} tokens.")
    elif not known.lengths.is_whole:
        lines.append("some sources are not local files: rows, tokens and time leave them out.")
    dtype, on_cpu = dtype_of(recipe, shape, machine), machine.device == "cpu"
    wants_16 = on_cpu and recipe.model.dtype in ("auto", "bfloat16")
    if dtype == "float16":
        there = machine.has_bfloat16
        format_notes = number_format.float16_warnings(
            recipe, saved_in(shape), shape.family, machine.name, has_bfloat16=there
        )
        lines += [f"{note}." for note in format_notes]
    elif wants_16 and not machine.has_bfloat16:
        lines.append("this CPU has no arithmetic for bfloat16: float32 is used.")
    elif wants_16:
        unknown = "the first run measures whether bfloat16 is faster than float32 on this CPU; this plan assumes so."
        why = _on_cpu("bfloat16", recipe, shape, machine)[1]
        lines.append(f"{why}." if why else unknown)
    of_tokens = schedule.flops_per_token(shape, work.trained, checkpointing=work.checkpointing)
    of_tokens *= work.batch_size * work.sequence
    if work.trained.batch_flops > of_tokens:
        lines.append(
            f"{recipe.method.name} spends more on whole matrices in each batch than on its tokens: a larger "
            "train.batch_size takes hardly longer."
        )
    if known.moving.experts and work.trained.beside:
        lines.append(
            f"{recipe.method.name} does not train the experts, {known.moving.experts / shape.parameters:.0%} of the "
            "weights; lora does, with method.target_parameters (docs/models.md)."
        )
    lines += [compiler.without_triton(machine.lacks)] if machine.lacks else []
    missed = attention_of(recipe, shape, on_gpu=machine.device == "gpu", flash=machine.has_bfloat16)[1]
    lines += [f"{missed}."] if missed else []
    positions = shape.max_positions
    if positions and recipe.data.max_tokens > positions:
        lines.append(f"data.max_tokens exceeds the model's {positions} positions.")
    return lines
