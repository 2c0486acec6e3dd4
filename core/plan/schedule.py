"""How long a run is, how long it takes, and what it leaves on the disk: steps, time and checkpoints.

Speed comes from earlier runs on this machine, else it is a guess from the device's FLOP/s, and labelled as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from finetop.core.plan.memory import Workload
from finetop.core.plan.result import Disk, Sampled, Steps, Time
from finetop.core.plugins import OBJECTIVES, writes_text
from finetop.core.recipe.length import count_steps, steps_between

if TYPE_CHECKING:
    from finetop.core.models.shape import Shape
    from finetop.core.plan.lengths import Lengths
    from finetop.core.plan.machine import Machine
    from finetop.core.plan.method_options import Trained
    from finetop.core.recipe.schema import Recipe

# Share of a device's FLOP/s that training reaches: SmolLM2-135M, full, float32, 131 tokens/s on two cores of
# 74 GFLOP/s is 0.72; on GPUs 0.3 to 0.5 is usual for dense models, less for small ones.
CPU_SHARE, GPU_SHARE = 0.65, 0.35
# Bytes of memory read per FLOP, at best: two cores of 74 GFLOP/s read 11 GB/s, an H100 3.3 TB/s.
CPU_READS, GPU_READS = 0.15, 0.0034
# The least time of a batch, however small: the trainer's overhead (0.6 million numbers on two cores: 63 ms a step).
CPU_BATCH_S, GPU_BATCH_S = 0.05, 0.02
# The time a layer takes per written token, however small the model: Python's overhead, and a kernel's start.
CPU_LAYER_S, GPU_LAYER_S = 0.0012, 0.0008
# From the start of a job's process to its first step: imports, preparing rows and trainer; and reading the model.
START_S, LOADED_BYTES = 4.0, 1e9
# The text that core/train/drift_probe.py reads at the start and at each probe, in tokens.
DRIFT_READ_CPU, DRIFT_READ_GPU = 512, 1536
SAVE_S, SAVED_BYTES = 0.3, 0.5e9  # the least time of a checkpoint, and the bytes written per second
NEAR = 4.0  # how many times larger or smaller a model may be for its speed to predict another's


@dataclass(frozen=True, slots=True)
class Extras:
    """Additional models, texts per batch, logits."""

    texts_per_row: int = 1  # both answers of a pair go through the model
    reference: bool = False  # the base beside it: a separate copy, unless an adapter can be switched off
    teacher: bool = False
    whole_logits: int = 0  # models whose logits exist for every token and word at once, instead of in tiles
    no_logits: bool = False  # one number per text
    reads: int = 0  # extra passes over a batch per step without learning: by a reference, by the policy
    writes: bool = False  # keeps keys and values of the answers that it writes; a reward model may judge them
    is_known: bool = True


EXTRAS: Mapping[str, Extras] = {
    "sft": Extras(),
    "continued-pretraining": Extras(),
    "pretrain": Extras(),
    "reward": Extras(texts_per_row=2, no_logits=True),
    # Without an adapter, the reference's scores of each pair are stored before the first step.
    "dpo": Extras(texts_per_row=2, reads=1),
    # Each prompt is also read with another row's answer, without gradients: nothing of it is kept.
    "kto": Extras(reads=2),
    "orpo": Extras(texts_per_row=2, whole_logits=1),
    "distill": Extras(teacher=True, whole_logits=2),
    "ppo": Extras(reference=True, whole_logits=1, reads=2, writes=True),  # logits of answers alone
    "rloo": Extras(reference=True, reads=2, writes=True),
    "grpo": Extras(reference=True, reads=2, writes=True),
}


def extras_of(objective: str) -> Extras:
    """Return what an objective needs; an unknown one counts as supervised fine-tuning, and the plan notes that."""
    return EXTRAS.get(objective, Extras(is_known=False))


def steps_of(recipe: Recipe, lengths: Lengths, gpus: int) -> Steps:
    """Return a run's steps and tokens, as the trainer counts them."""
    rows = lengths.rows if lengths.sequences is None else lengths.sequences
    copies = copies_of(recipe)
    per_step = recipe.train.batch_size * recipe.train.grad_accumulation * max(1, gpus)
    steps = count_steps(recipe.train, rows * copies, max(1, gpus))
    epochs = epochs_of(recipe, steps, rows * copies, gpus)
    part = lengths.sampled
    if part is not None:
        low, high = (count_steps(recipe.train, edge * copies, max(1, gpus)) for edge in part.sequences)
    return Steps(
        rows=lengths.rows,
        eval_rows=lengths.eval_rows,
        tokens_per_epoch=lengths.tokens,
        longest=lengths.longest,
        how=lengths.how,
        rows_per_step=per_step,
        steps=steps,
        tokens=round((lengths.tokens * copies + written_in_epoch(recipe, lengths)) * epochs),
        too_long=lengths.too_long,
        unlearned=lengths.unlearned,
        sequences=lengths.sequences,
        written=lengths.written,
        sampled=None if part is None else Sampled(part.read, part.of, part.rows, part.tokens, (low, high)),
        sources=lengths.reports,
    )


def epochs_of(recipe: Recipe, steps: int, rows: int, gpus: int) -> float:
    """Return how many passes over the rows these steps make; a pass's last step has the remaining rows."""
    once = structs.replace(recipe.train, epochs=1.0, max_steps=None)
    passes, rest = divmod(steps, count_steps(once, rows, max(1, gpus)))
    per_step = recipe.train.batch_size * recipe.train.grad_accumulation * max(1, gpus)
    return passes + min(1.0, rest * per_step / max(1, rows))


def written_in_epoch(recipe: Recipe, lengths: Lengths) -> int:
    """Return the tokens of the answers that a pass over the prompts learns from, each at its longest."""
    if not extras_of(recipe.objective.name).writes:
        return 0
    return lengths.rows * copies_of(recipe) * int(recipe.objective.options.max_new_tokens)


def copies_of(recipe: Recipe) -> int:
    """Return how often each row counts in a run's steps."""
    return OBJECTIVES.load(recipe.objective.name).copies(recipe.objective.options)


def time_of(
    recipe: Recipe,
    shape: Shape,
    work: Workload,
    machine: Machine,
    past: Sequence[PastRun],
    steps: Steps,
    disk: Disk,
    gpus: int,
    eval_tokens: int = 0,
    teacher: Shape | None = None,
) -> Time | None:
    """Estimate the time of a run: its start, steps, written answers, evaluations and checkpoints, but not checks."""
    ranks, extras, on_gpu = max(1, gpus), extras_of(recipe.objective.name), machine.device == "gpu"
    read = 2.0 * weights_met(shape)
    cost = flops_per_token(shape, work.trained, checkpointing=work.checkpointing) + extras.reads * read
    cost += 0.0 if teacher is None else 2.0 * weights_met(teacher)
    batches = max(1, steps.steps * recipe.train.grad_accumulation * ranks)
    cost += work.trained.batch_flops / max(1.0, steps.tokens / batches)
    speed: Speed | None = predict(recipe, cost, machine, past, shape.parameters)
    if speed is None:
        return None
    rate = speed.tokens_per_s * ranks
    least = 0.0 if speed.is_alike else batches / ranks * (GPU_BATCH_S if on_gpu else CPU_BATCH_S)
    learning = max(steps.tokens / rate, least)
    evaluations = math.ceil(steps.steps / steps_between(recipe.train.eval_every, steps.steps))
    evaluation = evaluations * eval_tokens * read / (cost * rate)
    bytes_read, reached = shape.parameters * work.compute_bytes, speed.tokens_per_s * cost

    def written(side_by_side: int) -> float:
        """Return the seconds in which this many answers side by side grow by one token each."""
        return token_seconds(read, bytes_read, side_by_side, reached, shape.layers, on_gpu=on_gpu)

    starting = START_S + bytes_read / LOADED_BYTES
    writes = writes_text(recipe.objective.name)
    if recipe.samples.count and writes:
        sampling = recipe.samples.max_new_tokens * written(recipe.samples.count)
        evaluation += evaluations * sampling
        starting += sampling
    if recipe.drift.every is not None and recipe.check.general is not None and writes:
        probe = (DRIFT_READ_GPU if on_gpu else DRIFT_READ_CPU) * read / (cost * rate)
        evaluation += probe * math.ceil(steps.steps / steps_between(recipe.drift.every, steps.steps))
        starting += probe
    writing = 0.0
    if extras.writes:
        answers = steps.steps * steps.rows_per_step / int(getattr(recipe.objective.options, "passes", 1))
        side_by_side = recipe.train.batch_size
        if recipe.objective.name != "ppo":  # ppo writes a batch at a time
            side_by_side *= recipe.train.grad_accumulation
        each = int(recipe.objective.options.max_new_tokens) * written(side_by_side)
        evaluation += evaluations * math.ceil(steps.eval_rows / recipe.train.batch_size) * each
        if not speed.is_alike:
            writing = answers / side_by_side / ranks * each
    saving = (saves_of(recipe, steps.steps) + 1) * (SAVE_S + (disk.checkpoint + disk.optimizer) / SAVED_BYTES)
    whole = starting + learning + writing + evaluation + saving
    return Time(whole, rate, speed.source, speed.is_measured, writing, evaluation, saving, starting)


def token_seconds(
    read: float, weights: float, side_by_side: int, reached: float, layers: int, *, on_gpu: bool
) -> float:
    """Return the seconds in which `side_by_side` answers grow by one token each.

    `read` is the arithmetic of a token and `weights` the bytes read for it once; `reached` is the FLOP/s that the
    device reaches in training.
    """
    share, reads = (GPU_SHARE, GPU_READS) if on_gpu else (CPU_SHARE, CPU_READS)
    own = layers * (GPU_LAYER_S if on_gpu else CPU_LAYER_S)
    return own + max(read * side_by_side / reached, weights / (reached / share * reads))


def saves_of(recipe: Recipe, steps: int | None) -> int:
    """Return the number of checkpoints that a run writes on its way."""
    every = recipe.train.save_every
    return math.ceil(1 / every) if isinstance(every, float) else math.ceil((steps or every) / every)


def disk_of(recipe: Recipe, shape: Shape, work: Workload, machine: Machine, steps: Steps | None) -> Disk:
    """Return the disk space of the kept checkpoints, with the optimizer states beside each for resuming."""
    moving = work.trained
    weights = moving.beside * work.trained_bytes if moving.beside else shape.parameters * work.weight_bytes
    if work.master:
        weights += moving.numbers * (work.trained_bytes - work.weight_bytes)
    states = moving.numbers * work.optimizer_bytes if recipe.train.resumable else 0.0
    if moving.beside and states:
        states += moving.beside * work.trained_bytes  # an adapter is saved a second time, as it was held
    saves = saves_of(recipe, None if steps is None else steps.steps)
    kept = min(saves, recipe.train.keep_checkpoints or saves) if saves else 1
    whole = kept * (weights + states)
    return Disk(weights, kept, optimizer=states, total=whole, free=machine.free_disk)


@dataclass(frozen=True, slots=True)
class PastRun:
    """The speed of an earlier run on this machine."""

    name: str
    model: str
    method: str
    objective: str
    on_gpu: bool
    tokens_per_s: float
    parameters: float = 0.0
    trainable: float = 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    tokens_per_s: float
    source: str  # in words
    is_measured: bool
    is_alike: bool = False  # measured on the same model, method and objective: nothing has to be added


def weights_met(shape: Shape) -> float:
    """Return the weights that a token passes through."""
    width = 3 if shape.is_gated else 2
    weights = shape.linear_weights + shape.output_weights
    if shape.experts:
        weights += width * shape.hidden * shape.mlp_width * shape.layers
    return weights


def flops_per_token(shape: Shape, trained: Trained, *, checkpointing: bool) -> float:
    """Return a token's FLOPs per step: 2 per weight that it passes, up to 4 on the way back (arXiv:2001.08361)."""
    weights = weights_met(shape)
    share = trained.depth * (2 if trained.beside and trained.beside == trained.numbers else 4)
    return weights * (2.0 + share + (2.0 if checkpointing else 0.0)) + 6.0 * trained.beside


def predict(
    recipe: Recipe, flops: float, machine: Machine, past: Sequence[PastRun], parameters: float
) -> Speed | None:
    """Return the tokens per second a run would reach; None if nothing is known.

    `past` is newest first; `flops` is the cost of one token, `parameters` the model's. Among runs of other models or
    methods the one nearest in size decides, if it is near enough.
    """
    model, method, objective = recipe.model.id, recipe.method.name, recipe.objective.name
    here = [run for run in past if run.on_gpu == (machine.device == "gpu") and run.tokens_per_s > 0]
    for run in here:
        same = (run.model, run.method, run.objective) == (model, method, objective)
        if same and (not run.parameters or _times(run.parameters, parameters) < NEAR):
            return Speed(run.tokens_per_s, f"measured by run {run.name}", True, True)
    apart = {name for name, extras in EXTRAS.items() if extras.writes or extras.teacher}
    others = [run for run in here if run.parameters and run.objective not in apart]

    def distance(run: PastRun) -> tuple[float, bool, bool]:
        return round(_times(run.parameters, parameters), 1), run.model != model, run.method != method

    nearest = min(others, key=distance, default=None)
    if nearest is not None and _times(nearest.parameters, parameters) < NEAR:
        extras = extras_of(nearest.objective)
        share = (6.0 if nearest.trainable * 2 > nearest.parameters else 4.0) + 2.0 * extras.reads
        reached = nearest.tokens_per_s * nearest.parameters * share
        return Speed(reached / flops, f"from the FLOP/s of run {nearest.name}", True)
    if machine.flops is None:
        return None
    share = GPU_SHARE if machine.device == "gpu" else CPU_SHARE
    size, unit = (1e12, "TFLOP/s") if machine.flops >= 1e12 else (1e9, "GFLOP/s")
    source = f"a guess: {share:.0%} of the {machine.flops / size:.0f} {unit} of {machine.name}"
    return Speed(machine.flops * share / flops, source, False)


def _times(one: float, other: float) -> float:
    """Return how many times larger the larger of two sizes is."""
    return max(one, other) / max(1.0, min(one, other))
