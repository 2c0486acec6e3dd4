"""A training step of a recipe in numbers, as its job would run it: formats, attention, engines, other models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.models import cpu_formats, weight_formats
from finetop.core.models.attention import best_kernel
from finetop.core.models.resolved import Moving
from finetop.core.models.shape import Shape
from finetop.core.plan import answers
from finetop.core.plan.memory import Workload
from finetop.core.plan.method_options import Trained
from finetop.core.plan.readings import readings
from finetop.core.plan.schedule import Extras, PastRun, extras_of
from finetop.core.plan.trainable import trained
from finetop.core.plugins import METHODS
from finetop.core.recipe import number_format, protections as recipe_protections
from finetop.core.recipe.length import packs
from finetop.core.recipe.master import SLICE, SLICE_BYTES, Held, held_in, optimizer_bytes
from finetop.core.recipe.parallel import way_of
from finetop.core.recipe.protections import Problem, Sizes
from finetop.core.recipe.schema import Attention, EngineChoice, Recipe

if TYPE_CHECKING:
    from finetop.core.plan.lengths import Lengths
    from finetop.core.plan.machine import Machine

NUMBER_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
UNBUILT = Moving()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside a recipe: its data, earlier runs here, a teacher's config."""

    lengths: Lengths | None = None
    past: Sequence[PastRun] = ()
    teacher: Shape | None = None
    moving: Moving = UNBUILT  # as the job's own code has built and counted it
    note: str = ""  # on where the model's config comes from

    @property
    def tokens(self) -> float:
        """Return the tokens of all rows; 0 if none was read."""
        return 0.0 if self.lengths is None else self.lengths.tokens + self.lengths.eval_tokens


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
    held_weights = None if is_divided else weights_held(recipe, shape, moving, dtype, machine)
    master = held_weights == "float32"
    moving_bytes = 4.0 if is_beside or is_divided or master else size  # PEFT makes adapters in float32
    longest = recipe.data.max_tokens
    if known.lengths is not None and known.lengths.longest and not packs(recipe):
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
    work = Workload(
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
        slice_bytes=SLICE_BYTES * min(SLICE, moving.numbers) if held_weights == "stochastic" else 0.0,
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
        data_tokens=0.0 if on_gpu else known.tokens,
        ranks=max(1, ranks),
        divided=is_divided,
    )
    return dataclasses.replace(work, readings=tuple(readings(recipe, work, extras)))


def weights_held(recipe: Recipe, shape: Shape, moving: Trained, dtype: str, machine: Machine) -> Held | None:
    """Return how the model's own trained weights are held for 16-bit arithmetic; None if there is no choice."""
    if dtype == "float32" or moving.beside or METHODS.load(recipe.method.name).keeps_base:
        return None
    still, wide = max(0, shape.parameters - moving.numbers), moving.wide / max(1, moving.numbers)
    memory, in_float16 = capacity_of(recipe, machine), dtype == "float16"
    return held_in(recipe.train, 2.0, moving.numbers, still, memory, wide, in_float16=in_float16)


def mask_cells(
    recipe: Recipe, shape: Shape, moving: Trained, sequence: int, extras: Extras, *, on_gpu: bool, flash: bool
) -> float:
    """Return the cells of a batch's attention mask; 0 if batches are right-padded, or kernels need none.

    Packed rows form one sequence, in which every token has a cell for every other.
    """
    rows = recipe.train.batch_size * extras.texts_per_row
    kernel, _ = attention_of(recipe, shape, on_gpu=on_gpu, flash=flash)
    if kernel in ("flash_attention_2", "flex"):
        return 0.0
    tokens = float(sequence + moving.virtual_tokens)
    if packs(recipe):
        return (rows * tokens) ** 2
    return rows * tokens**2 if extras.writes or moving.virtual_tokens else 0.0


def attention_of(recipe: Recipe, shape: Shape, *, on_gpu: bool, flash: bool) -> tuple[Attention, str]:
    """Return the attention that the run trains with, and what its packed rows lack, as the job chooses both."""
    if recipe.model.attention != "auto":
        return recipe.model.attention, ""
    return best_kernel(on_gpu=on_gpu, packs=packs(recipe), flash=flash, flex_fault=shape.flex_fault)


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
    return NUMBER_BYTES.get(saved_in(shape), 4.0)


def checkpoints(recipe: Recipe) -> bool:
    """Return whether activations are recomputed instead of kept."""
    return recipe.train.activation_checkpointing is True


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
    return on_cpu_in(wanted, recipe, shape, machine)[0]


def saved_in(shape: Shape) -> str:
    """Return the number format that a model was saved in."""
    return shape.dtype.removeprefix("torch.")


def on_cpu_in(wanted: str, recipe: Recipe, shape: Shape, machine: Machine) -> tuple[str, str]:
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


def refusals(recipe: Recipe, shape: Shape, machine: Machine, ranks: int = 1) -> Iterator[Problem]:
    """Yield what the job would refuse about the number format on this machine."""
    dtype, on_cpu = dtype_of(recipe, shape, machine), machine.device == "cpu"
    card, has_it = machine.name, machine.has_bfloat16
    return number_format.refusals(recipe, dtype, card, on_cpu=on_cpu, has_bfloat16=has_it, ranks=ranks)
