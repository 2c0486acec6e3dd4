"""How much memory a run holds at its peak, by part: a formula over a model's shape and what is trained of it.

A training step is one phase; evaluations, samples and checks in the same process are others (`Reading`).

Each term is a tensor that autograd, the optimizer or a library keeps, in bytes per number, read from the code of
transformers 5.24, TRL 1.16, PEFT 0.21 and torch 2.13. Only FIXED, SLACK and the CPU's constants are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from finetop.core.recipe import parallel

if TYPE_CHECKING:
    from finetop.core.models.shape import Linear, Role, Shape
    from finetop.core.plan.method_options import Trained

# Whole logits in 16 bits: the logits 2, their float32 copy 4, log-softmax 4, its gradient 4.
LOGIT_BYTES = 14.0
LOGIT_BYTES_FLOAT32 = 16.0  # logits, log-softmax, its gradient, the logits' gradient
# TRL's fused head makes logits in tiles of 4,096 tokens by 32,768 words; in 16 bits where Triton folds them, else
# with seven float32 copies and a mask beside them at the worst moment of _backward_tile, where it subtracts.
TILE_TOKENS, TILE_WORDS = 4096, 32768
TILE_BYTES_TORCH = 29.0

STEP = "a training step"  # the phase, in words

ROLES: tuple[Role, ...] = ("attention in", "attention out", "mlp in", "mlp out")
INTO: tuple[Role, ...] = ("attention in", "mlp in")  # of these, which read a norm's output

# transformers' own scan of a state-space layer, without its kernel: A and B of each token in float32, their products,
# the states.
SCAN_COPIES = 4

# On a CPU core/train/cpu_lm_head.py scores this many positions at a time, over the whole vocabulary. The peak is where
# the next ones begin: the last scaled logits and exponentials in float32, and the new scaled logits, in 16 bits too.
HEAD_POSITIONS = 256
HEAD_BYTES = 12.0

# A GPU: the driver's context takes 0.4 to 0.6 GB; the libraries' workspaces, their kernels and the allocator's
# half-used segments about another 1.1 GB. Together they fit the 32 public points best between 1.4 and 2.0 GB.
CONTEXT_BYTES = 0.5e9
WORKSPACE_BYTES = 1.1e9
# With several GPUs NCCL's buffers, by its defaults: 4 MiB for its simple protocol (NCCL_BUFFSIZE), 4.7 for LL128 and
# 0.5 for LL; in each of 24 channels (NVLink; two to four without it) one set for the ring and two for the trees. An
# estimate, not yet confirmed on a GPU: expect 0.3 to 1.5 GB per rank.
NCCL_BYTES = 24 * 3 * (4 + 120 * 640 * 64 / 2**20 + 0.5) * 2**20
SLACK = 0.03  # blocks that are rounded up, and holes between them
# Added to the estimate for a verdict, so that at most 1 in 20 of those points lies above (none of 32 does): with SLACK
# a tenth of the formula, and 0.8 GB; with half a GB one lies above.
MARGIN, MARGIN_BYTES = 0.07, 0.8e9

# The CPU, resident when the first step begins (Python 3.11, torch 2.13): 260 MB of libraries' pages, 170 MB that their
# import puts on the heap, 230 MB of Python's own arenas, stacks and the tokenizer. Temporary tensors under 32 MB leave
# holes in malloc's heap: 9 to 20 % of activations and logits, measured with mallinfo2 at the peak (SmolLM2-135M;
# bfloat16, float32, nf4, int8).
CPU_FIXED_BYTES = 0.67e9
# Products in 16 bits: code and scratch memory that oneDNN keeps for the shapes that it met last, as many as
# core/runtime/job_process.py allows. With all 1,024 of its default a run of 40 steps held 0.2 GB more.
CPU_KERNEL_BYTES = 128 * 0.5e6
CPU_SLACK = 0.15
CPU_MARGIN, CPU_MARGIN_BYTES = 0.12, 0.1e9
# A token of the data in the machine's memory: in Python lists, and as the trainer's data set while it is built from
# them (11.6 million tokens: 518 MiB and 480 MiB).
DATA_BYTES = 95.0
# A process with a GPU, beside its libraries' pages: the driver's own, kernels, pinned rows. An estimate, not yet
# confirmed on a GPU.
DRIVER_BYTES = 1.5e9
# Files of a sharded state: copied from the GPU, as bytes, in the file format; and the previous one.
PARTS_HELD = 4


class Part(msgspec.Struct, frozen=True):
    """One part of the memory of a step, in bytes."""

    name: str
    bytes: float


class Reading(msgspec.Struct, frozen=True):
    """A phase in which a run reads or writes text without learning: neither gradients nor activations are kept."""

    phase: str
    tokens: int  # that go through a layer at once
    logits: float = 0.0  # bytes
    copies: float = 0.0  # bytes of keys and values, and of weights rounded for the phase


@dataclass(frozen=True, slots=True)
class Workload:
    """A training step in numbers, whichever trainer runs it. Bytes are per number."""

    shape: Shape
    trained: Trained
    batch_size: int  # texts on a device at once, both answers of a pair counted
    sequence: int  # tokens of the longest
    on_gpu: bool = True
    weight_bytes: float = 2.0
    compute_bytes: float = 2.0
    linear_bytes: float | None = None  # of a weight of a linear layer in fewer bits; None: weight_bytes
    unpacked_bytes: float = 2.0  # of such a weight, while its layer is worked on
    trained_bytes: float = 2.0  # of trained numbers, and of their gradients
    optimizer_bytes: float = 4.0  # for each trained number
    transient_bytes: float = 0.0  # the same, only during the optimizer's step
    slice_bytes: float = 0.0  # what that step holds of one weight at a time
    accumulates: bool = True  # gradients of earlier batches exist when a batch begins
    checkpointing: bool = False
    chunked_loss: bool = True
    fused_kernels: bool = False  # norms and activation functions keep only their inputs
    quantized_keeps_inputs: bool = False  # bitsandbytes before 0.46
    # cells of an attention mask: SDPA keeps one number per cell in every layer, and copies keys
    masked: float = 0.0
    keeps_scores: bool = False  # eager attention: its square matrix of scores stays
    # the model's own weights are trained in float32: computed with a copy, the stream in float32
    master: bool = False
    frozen_models: float = 0.0  # bytes of other models: reference, reward, teacher
    protections: float = 0.0  # bytes that protections against forgetting hold
    token_extras: float = 0.0  # bytes that an objective adds for each token of the batch
    # keys and values while an engine writes a step's answers, before anything is learned
    answers: float = 0.0
    engine: float = 0.0  # of an engine with its own weights and cache
    has_logits: bool = True
    logit_tokens: int | None = None  # tokens of a text whose logits are computed; None: all
    file_bytes: float = 0.0  # of the weights' file, while it is read into other numbers
    data_tokens: float = 0.0  # of all rows, in the memory that the plan is about
    ranks: int = 1  # GPUs that train side by side
    divided: bool = False  # weights, gradients and states sharded (FSDP2), else a copy on each GPU (DDP)
    readings: tuple[Reading, ...] = ()  # the phases between steps


def peak(work: Workload) -> tuple[str, tuple[Part, ...]]:
    """Return the phase in which a run holds most, and its parts; their sum is the estimate."""
    step = parts(work)
    first = "preparation" if any(part.name == "preparation" for part in step) else STEP
    phases = [(first, step), *((reading.phase, read_parts(work, reading)) for reading in work.readings)]
    return max(phases, key=lambda phase: total(phase[1]))


def read_parts(work: Workload, reading: Reading) -> tuple[Part, ...]:
    """Split what a run holds in a phase without learning, beside the states that wait for the next step."""
    weights, gradients, optimizer = _lasting(work)
    kept_gradients = gradients if work.ranks > 1 and not work.divided else 0.0  # DDP's buckets
    ends = stream_bytes(work) + 4
    activations = reading.tokens * (layer_bytes(work) + ends * work.shape.hidden + work.token_extras)
    named = [
        ("weights", weights),
        ("gradients", kept_gradients),
        ("optimizer", optimizer),
        ("activations", activations),
        ("logits", reading.logits),
        ("copies", reading.copies),
        ("answers", work.engine),
        ("other models", work.frozen_models),
        ("protections", work.protections),
    ]
    return _with_process(work, named, sum(size for _, size in named), activations + reading.logits)


def _lasting(work: Workload) -> tuple[float, float, float]:
    """Return the bytes of weights, of gradients and of the optimizer's states on each device."""
    moving = work.trained
    states = moving.numbers * work.optimizer_bytes + moving.sums * 4.0
    whole = weight_memory(work), moving.numbers * work.trained_bytes, states
    weights, gradients, states = (size / (work.ranks if work.divided else 1) for size in whole)
    return weights, gradients, states


def _with_process(
    work: Workload, named: list[tuple[str, float]], whole: float, passing: float
) -> tuple[Part, ...]:
    """Return the parts that are not empty, with those of the process itself."""
    if work.on_gpu:
        named += [("libraries", CONTEXT_BYTES + WORKSPACE_BYTES), ("slack", SLACK * whole)]
        named += [("NCCL", NCCL_BYTES * (work.ranks > 1))]
    else:
        named += [("rows", work.data_tokens * DATA_BYTES)]
        kernels = CPU_KERNEL_BYTES if work.compute_bytes < 4 else 0.0
        named += [("libraries", CPU_FIXED_BYTES + kernels), ("slack", CPU_SLACK * passing)]
    return tuple(Part(name, size) for name, size in named if size)


def parts(work: Workload) -> tuple[Part, ...]:
    """Split what a step holds at its peak, plus what preparation needs beyond that."""
    shape, moving = work.shape, work.trained
    weights, gradients, optimizer = _lasting(work)
    activations = activation_memory(work)
    logits = logit_memory(work)
    passing = activations + logits
    gathered = 0.0
    if work.divided:
        size, layer, head = work.compute_bytes, *gathered_numbers(shape)
        packed = size if work.linear_bytes is None else work.linear_bytes
        gathered = 2 * layer * packed + head * size  # the current layer, and the next
        # Whole gradients until they are reduced, also in float32: of a layer; once activations are gone, of both ends.
        ends = 0.0 if moving.beside else (head + shape.embeddings * bool(shape.head)) * size + head * 4
        in_layer = moving.numbers / max(1, shape.layers) if moving.beside else layer
        gradients += max(in_layer * (size + 4), ends - passing)
    elif work.ranks > 1:
        gradients *= 2  # the buckets that DDP reduces are a second copy
    if not work.accumulates:  # gradients appear as activations go: the higher of both is the peak
        gradients = max(0.0, gradients - passing)
    step = max(0.0, moving.numbers * work.transient_bytes + work.slice_bytes - passing)
    unpacked = 0.0
    if work.linear_bytes is not None:
        widest = max((linear.inputs * linear.outputs for linear in shape.linears), default=0)
        unpacked = widest * work.unpacked_bytes
    scratch = max(unpacked, moving.scratch * work.compute_bytes)
    named = [
        ("weights", weights),
        ("gathered", gathered),
        ("gradients", gradients),
        ("optimizer", optimizer + step),
        ("activations", activations + scratch),
        ("logits", logits),
        ("answers", max(0.0, work.answers - passing) + work.engine),
        ("other models", work.frozen_models),
        ("protections", work.protections),
    ]
    whole = sum(size for _, size in named)
    ready = weights + max(work.file_bytes, moving.preparing * 4.0)
    named.append(("preparation", max(0.0, ready - whole)))
    return _with_process(work, named, max(whole, ready), passing)


def total(all_parts: tuple[Part, ...]) -> float:
    """Return the estimate, in bytes."""
    return sum(part.bytes for part in all_parts)


def need(all_parts: tuple[Part, ...], *, on_gpu: bool) -> float:
    """Return what must be free for a verdict of `fits`: the estimate and its margin, in bytes."""
    estimate = total(all_parts)
    if not on_gpu:
        return estimate * (1 + CPU_MARGIN) + CPU_MARGIN_BYTES
    formula = estimate - sum(part.bytes for part in all_parts if part.name in ("libraries", "slack", "NCCL"))
    return estimate + MARGIN * formula + MARGIN_BYTES


def gathered_numbers(shape: Shape) -> tuple[float, float]:
    """Return the weights gathered at once: those of one layer, and of the head with the last norm."""
    ends = shape.embeddings + shape.positions + shape.head + shape.end_norm
    return (shape.parameters - ends) / max(1, shape.layers), float(shape.output_weights + shape.end_norm)


def weight_memory(work: Workload) -> float:
    """Return the memory of the loaded model, with what the method adds to it."""
    shape, moving = work.shape, work.trained
    whole = shape.parameters * work.weight_bytes
    if work.linear_bytes is not None:
        whole += shape.linear_weights * (work.linear_bytes - work.weight_bytes)
    if work.master:
        whole += moving.numbers * (4.0 - work.weight_bytes + work.compute_bytes)
    return whole + moving.beside * work.trained_bytes + moving.held * 4.0


def activation_memory(work: Workload) -> float:
    """Return what the forward pass keeps for the backward pass, over all layers."""
    shape, moving = work.shape, work.trained
    tokens = work.batch_size * (work.sequence + moving.virtual_tokens)
    each = layer_bytes(work)
    stream = stream_bytes(work) * shape.hidden
    layers = shape.layers * moving.depth
    masks = work.masked * (work.compute_bytes * (1 if work.checkpointing else shape.layers) + 1)
    rebuilt = moving.rebuilt * work.compute_bytes
    ends = tokens * (
        stream + 4 * shape.hidden + work.token_extras
    )  # the last norm, and what goes into the head
    if work.checkpointing:
        return tokens * (layers * stream + each) + rebuilt / max(1, shape.layers) + ends + masks
    return tokens * layers * each + rebuilt + ends + masks


def stream_bytes(work: Workload) -> float:
    """Return the bytes of a number in the residual stream: float32 where the embeddings are."""
    return 4.0 if work.master and work.trained.depth == 1.0 else work.compute_bytes


def layer_bytes(work: Workload) -> float:
    """Return what one layer keeps for each token."""
    shape, moving, size = work.shape, work.trained, work.compute_bytes
    stream = stream_bytes(work)
    in_float32 = shape.norm_in_float32 or work.on_gpu  # autocast computes other norms in float32 on a GPU
    norm = (4 if in_float32 and not work.fused_kernels else stream) * shape.hidden
    if moving.norms_move and shape.norm_in_float32 and not work.fused_kernels:
        norm += stream * shape.hidden  # normalised, before the norm's weight
    kept = shape.norms_per_layer * norm + _heads(work)
    if shape.head_norms and not work.fused_kernels:
        kept += (4 + size * moving.norms_move) * (shape.query_width + shape.key_width)
    kept += SCAN_COPIES * 4 * shape.scanned
    inner = shape.mlp_width * (4.0 if _widens(work) else size)
    if shape.is_gated:
        kept += inner * (2 if work.fused_kernels else 3)
    elif not (shape.is_relu and _shares(work, "mlp out")):  # else its output is what the next layer keeps
        kept += inner
    kept += shape.mlp_width * 4 * shape.inner_floats
    return kept + sum(_inputs(work, role) for role in ROLES) + _paths(work)


def _heads(work: Workload) -> float:
    """Return what a layer's attention keeps for each token, its input excluded."""
    shape, size = work.shape, work.compute_bytes
    query, key = shape.query_width, shape.key_width
    if shape.keeps_scores or work.keeps_scores:  # keys and values are copied for each head
        return 3 * size * query + shape.heads * work.sequence * (4 + size)
    keys = query if work.masked else key
    is_part = shape.fused_heads and not _widens(work)
    values = query + 2 * key if is_part else keys  # a part of a tensor keeps all of it
    return size * (2 * query + keys + values) + 4 * shape.heads  # with its output


def _widens(work: Workload) -> bool:
    """Return whether the float32 of a norm goes through its layers: quantized ones answer in their input's format."""
    return (
        work.on_gpu
        and work.linear_bytes is not None
        and not work.shape.norm_in_float32
        and work.compute_bytes < 4
    )


def _learning(work: Workload, role: Role) -> list[Linear]:
    """Return the linear layers of a role whose inputs a gradient needs."""
    every = work.quantized_keeps_inputs and work.linear_bytes is not None
    names = work.trained.learning
    return [one for one in work.shape.linears if one.role == role and (every or one.name in names)]


def _copies(work: Workload, role: Role) -> bool:
    """Return whether autocast rounds the input of a role's layers for each of them, and each keeps its copy."""
    moving, size = work.trained, work.compute_bytes
    if size == 4:
        return False
    if role in INTO and (work.master or (work.on_gpu and not work.shape.norm_in_float32)):
        return True  # a norm in float32 goes before
    if not moving.beside:
        return False
    # PEFT's quantized layers cast unless autocast is on, and ask that of a GPU's alone
    is_uncast = moving.uncast if work.linear_bytes is None else work.on_gpu
    return moving.dropout or _widens(work) or (work.trained_bytes != size and not is_uncast)


def _shares(work: Workload, role: Role) -> bool:
    """Return whether layers of a role keep their common input itself."""
    return bool(_learning(work, role)) and not _copies(work, role)


def _inputs(work: Workload, role: Role) -> float:
    """Return what the linear layers of a role keep of their inputs, for each token of a layer."""
    shape, size = work.shape, work.compute_bytes
    linears = _learning(work, role)
    if not linears:
        return 0.0
    if _copies(work, role):
        each = size + work.trained.dropout  # and dropout's mask of bytes
        return each * sum(one.inputs * one.count for one in linears) / max(1, shape.layers)
    if role == "attention out" and not (shape.keeps_scores or work.keeps_scores):
        return 0.0  # attention keeps its output
    return size * max(one.inputs * one.count / shape.layers for one in linears)


def _paths(work: Workload) -> float:
    """Return what an adapter's paths keep for each token of one layer, their input excluded."""
    shape, moving, size = work.shape, work.trained, work.compute_bytes
    kept = 4.0 * moving.token_floats / shape.layers
    for linear in moving.adapted:
        path = moving.wide_copies * linear.inputs + moving.inner + moving.output_copies * linear.outputs
        kept += linear.count / shape.layers * size * path
    return kept


def logit_memory(work: Workload) -> float:
    """Return what is held from the last layer to the loss, at its peak in the backward pass."""
    shape = work.shape
    tokens = work.batch_size * (work.sequence if work.logit_tokens is None else work.logit_tokens)
    if not work.has_logits:
        return 0.0
    if not work.chunked_loss:
        each = LOGIT_BYTES_FLOAT32 if work.compute_bytes == 4 else LOGIT_BYTES
        return tokens * shape.vocabulary * each
    if work.on_gpu or work.trained.head_moves:
        tile = min(tokens, TILE_TOKENS) * min(shape.vocabulary, TILE_WORDS)
        held = tile * (work.compute_bytes + (0.0 if work.on_gpu else TILE_BYTES_TORCH))
    else:
        each = HEAD_BYTES + (work.compute_bytes if work.compute_bytes < 4 else 0.0)
        held = min(tokens, HEAD_POSITIONS) * shape.vocabulary * each
    held += tokens * shape.hidden * 4  # the gradient of the last layer's output
    if work.trained.head_moves:
        again = work.compute_bytes if work.divided else work.weight_bytes
        held += shape.output_weights * (4 + again)  # the head's gradient, in float32 and then again
    return held


def host_memory(work: Workload, tokens: float, here: int, *, readers: int, converts: bool) -> float:
    """Return the bytes that `here` ranks of a sharded model, the first among them, hold beside the GPUs at their peak.

    A file's pages are not counted, because the system drops them when memory is needed.

    `tokens` are of all rows, which each rank reads; `readers` of them read the model; `converts` is True if its file
    has another number format than the run, or there is no file.
    """
    each = CPU_FIXED_BYTES + DRIVER_BYTES + tokens * DATA_BYTES
    return here * each + max(readers * _read(work, converts=converts), _written(work, here))


def _read(work: Workload, *, converts: bool) -> float:
    """Return what a rank that reads the model holds of it: the file is mapped."""
    whole, size = work.shape.parameters, work.compute_bytes
    if work.linear_bytes is not None:
        return whole * size + work.shape.linear_weights * (work.linear_bytes - size)
    return whole * size if converts else 0.0


def _written(work: Workload, here: int) -> float:
    """Return what the first rank gathers for a checkpoint: the weights, and the state unless it is sharded."""
    whole, moving, size = work.shape.parameters, work.trained, work.compute_bytes
    if moving.beside:
        return moving.numbers * (2 * work.trained_bytes + work.optimizer_bytes)
    state = moving.numbers * work.optimizer_bytes + (whole * 4.0 if size < 4 else 0.0)
    if parallel.STATE_BYTES * whole > parallel.IN_PARTS_ABOVE:
        state = here * min(PARTS_HELD * float(parallel.PART_BYTES), PARTS_HELD * state / work.ranks)
    return whole * size + state
