"""A pretended CUDA GPU: tensors that report cuda:0, with their numbers in the machine's memory.

It refuses what CUDA refuses, tensors of two devices in one operation, and counts what makes a program wait for its
GPU: `.item()`, copies to the host, shapes that depend on numbers. It has no kernels, no memory and no speed: it shows
where the program's own code would go wrong, or wait.

Importing it loads the native half (pretended_guard.py), so torch must not have been imported before.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pretended_guard

pretended_guard.load()

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_flatten, tree_unflatten  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Card:
    """The card that it pretends to be."""

    name: str = "Pretended GPU"
    total_bytes: int = 80 << 30
    capability: tuple[int, int] = (9, 0)

    @property
    def has_bfloat16(self) -> bool:
        return self.capability >= (8, 0)


CARDS = {"": Card(), "t4": Card("Tesla T4", 15 << 30, (7, 5))}
CARD = CARDS[os.environ.get("FINETOP_PRETENDED_CARD", "")]
# Operations that may have tensors of two devices: copies.
COPIES = {"copy_", "_to_copy", "_copy_from", "to", "lift_fresh", "set_", "_foreach_copy_"}
# Indices may be on the host; so may the single number that is written there.
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# CUDA accepts a host's single number as an operand, but not in these.
TAKES_NO_NUMBER = {
    "mm", "bmm", "addmm", "baddbmm", "embedding", "gather", "scatter", "index_select", "cat", "stack",
}  # fmt: skip
# The size of the result depends on numbers: the host waits for it.
SIZED_BY_NUMBERS = {"nonzero", "masked_select", "unique_dim", "_unique2", "repeat_interleave.Tensor"}


class DeviceMismatch(RuntimeError):
    """CUDA's error for tensors of two devices in one operation."""


@dataclass
class Counts:
    """Counts by kind and place; the place is the line of finetop's code, or else of a library's."""

    waits: Counter[str] = field(default_factory=Counter)  # the host waits for the GPU
    copies: Counter[str] = field(default_factory=Counter)  # to the GPU: these need not wait
    masks: Counter[str] = field(default_factory=Counter)  # attention by kind of mask
    emulated: Counter[str] = field(default_factory=Counter)  # arithmetic in bfloat16 on a card without it
    mismatches: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Clear all but the mismatches and the emulated operations."""
        for counter in (self.waits, self.copies, self.masks):
            counter.clear()


COUNTS = Counts()


class OnGpu(torch.Tensor):
    """A tensor of the pretended GPU; `host` holds its numbers."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> OnGpu:
        wrapped: OnGpu = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            layout=host.layout, device=torch.device("cuda:0"), requires_grad=False,
        )  # fmt: skip
        wrapped.host = host
        return wrapped

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return dispatch(operation, args, kwargs or {})

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.host})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin: Any = OnGpu(self.host.clone())
        if isinstance(self, torch.nn.Parameter):
            twin = torch.nn.Parameter(twin, self.requires_grad)
        memo[id(self)] = twin
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("a tensor of the pretended GPU is pickled: save a copy on the host")

    def tolist(self) -> Any:
        COUNTS.waits[f"tolist {place()}"] += 1
        return self.host.tolist()

    def data_ptr(self) -> int:
        return self.host.data_ptr()

    def untyped_storage(self) -> Any:
        return self.host.untyped_storage()

    def storage(self) -> Any:
        return self.host.storage()

    @property
    def data(self) -> Any:
        return self.detach()

    @data.setter
    def data(self, new: Any) -> None:
        if not isinstance(new, OnGpu):
            raise DeviceMismatch("the data of a tensor on cuda:0 is set to one on cpu")
        torch.Tensor.data.__set__(self, new)  # type: ignore[attr-defined]
        self.host = new.host


class Mode(TorchDispatchMode):
    """Handles operations without a tensor argument: those that make one on a device."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return dispatch(operation, args, kwargs or {})


def dispatch(operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operation on its tensors' host numbers, and put the result on the device where it would be."""
    name = operation._schema.name.partition("::")[2]
    flat, shape = tree_flatten((args, kwargs))
    on_gpu = [value for value in flat if isinstance(value, OnGpu)]
    on_host = [value for value in flat if isinstance(value, torch.Tensor) and not isinstance(value, OnGpu)]
    if on_gpu and on_host and name not in COPIES:
        require_one_device(name, args, on_gpu, on_host)
    goal = next((value.type for value in flat if isinstance(value, torch.device)), None)
    if on_gpu:
        count(operation, name, args, goal)
        if not CARD.has_bfloat16 and any(tensor.dtype == torch.bfloat16 for tensor in on_gpu):
            COUNTS.emulated[f"{name} {place()}"] += 1
    elif name == "_to_copy" and goal == "cuda":
        COUNTS.copies[f"to the GPU {place()}"] += 1
    plain = [hosted(value) for value in flat]
    inner_args, inner_kwargs = tree_unflatten(plain, shape)
    result = run(operation, name, inner_args, inner_kwargs)
    where = goal or ("cuda" if on_gpu else "cpu")
    if name == "copy_":
        where = "cuda" if isinstance(args[0], OnGpu) else "cpu"
    return placed(result, where, flat, plain, name)


def require_one_device(
    name: str, args: Sequence[Any], on_gpu: Sequence[Tensor], on_host: Sequence[Tensor]
) -> None:
    """Refuse what CUDA would refuse. Raises DeviceMismatch."""
    wrong = [tensor for tensor in on_host if tensor.dim() > 0 or name in TAKES_NO_NUMBER]
    if name in INDEXED and isinstance(args[0], OnGpu):
        indices = args[1] if isinstance(args[1], list | tuple) else ()
        wrong = [tensor for tensor in wrong if not any(tensor is index for index in indices)]
    if name == "cat":
        wrong = [tensor for tensor in wrong if tensor.numel()]
    if wrong:
        shapes = f"{[tuple(t.shape) for t in on_gpu]} on cuda:0, {[tuple(t.shape) for t in wrong]} on cpu"
        message = f"Expected all tensors to be on the same device, but aten.{name} got {shapes}"
        COUNTS.mismatches.append(f"{message} {place()}")
        raise DeviceMismatch(message)


def count(operation: Any, name: str, args: Sequence[Any], goal: str | None) -> None:
    """Count what makes the host wait."""
    if name == "_local_scalar_dense":
        COUNTS.waits[f"item {place()}"] += 1
    elif name in SIZED_BY_NUMBERS or f"{name}.{operation._overloadname}" in SIZED_BY_NUMBERS:
        COUNTS.waits[f"{name} {place()}"] += 1
    elif name == "index" and any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in args[1]):
        COUNTS.waits[f"boolean index {place()}"] += 1
    elif name == "_to_copy" and goal == "cpu":
        COUNTS.waits[f"to the host {place()}"] += 1
    elif name == "copy_" and isinstance(args[0], OnGpu) != isinstance(args[1], OnGpu):
        if isinstance(args[1], OnGpu):
            COUNTS.waits[f"to the host {place()}"] += 1
        else:
            COUNTS.copies[f"to the GPU {place()}"] += 1


def place() -> str:
    """Return the innermost running line of finetop's own code, else of a library other than torch."""
    frame, elsewhere = sys._getframe(2), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if "/site-packages/" in file:
            if not elsewhere and "/site-packages/torch/" not in file:
                elsewhere = f"{file.rpartition('/site-packages/')[2]}:{frame.f_lineno}"
        elif "/core/" in file and "/tests/" not in file:
            return f"core/{file.partition('/core/')[2]}:{frame.f_lineno}" + (
                f" in {elsewhere}" if elsewhere else ""
            )
        frame = frame.f_back  # type: ignore[assignment]
    return elsewhere or "?"


def hosted(value: Any) -> Any:
    """Return a value with its tensors replaced by their host copies."""
    if isinstance(value, OnGpu):
        return value.host
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return value


def run(operation: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run on the host; a matrix product into another number format, which the CPU lacks, in float32."""
    if name in ("mm", "addmm") and "dtype" in operation._overloadname:
        factors = [value.float() for value in args if isinstance(value, torch.Tensor)]
        product = torch.mm(*factors) if name == "mm" else torch.addmm(*factors)
        return kwargs["out"].copy_(product) if "out" in kwargs else product
    with torch._C.DisableTorchFunctionSubclass():
        return operation(*args, **kwargs)


def placed(result: Any, where: str, flat: Sequence[Any], plain: Sequence[Any], name: str) -> Any:
    """Put an operation's result on its device; a tensor changed in place stays the same object."""
    values, shape = tree_flatten(result)
    placed_values = []
    for value in values:
        if not isinstance(value, torch.Tensor):
            placed_values.append(value)
            continue
        given = next((outer for outer, inner in zip(flat, plain, strict=True) if inner is value), None)
        is_given = given is not None and isinstance(given, OnGpu) == (where == "cuda")
        if is_given and given.shape != value.shape:
            raise RuntimeError(f"{name} changed a shape in place, which the pretended GPU can't follow")
        placed_values.append(given if is_given else OnGpu(value) if where == "cuda" else value)
    return tree_unflatten(placed_values, shape)


@dataclass(frozen=True)
class Properties:
    """A card's reported properties."""

    name: str = CARD.name
    total_memory: int = CARD.total_bytes
    major: int = CARD.capability[0]
    minor: int = CARD.capability[1]
    multi_processor_count: int = 132
    warp_size: int = 32
    regs_per_multiprocessor: int = 65536
    max_threads_per_multi_processor: int = 2048
    gcnArchName: str = ""  # torch's spelling
    uuid: str = "GPU-0"


class Context:
    """Stands in for streams, events and device contexts, which do nothing here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *args: object) -> bool:
        return False

    def synchronize(self) -> None:
        pass

    def wait_stream(self, *args: Any) -> None:
        pass

    def record(self, *args: Any) -> None:
        pass

    def elapsed_time(self, later: Context) -> float:
        return 0.0


def nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing: the card has no kernels."""


def synchronize(*args: Any) -> None:
    """Count a wait for all pending work."""
    COUNTS.waits[f"synchronize {place()}"] += 1


def inference(mode: Any = True) -> Any:
    """Stand in for torch.inference_mode: a context, or a decorator."""
    return torch.no_grad(mode) if callable(mode) else torch.no_grad() if mode else Context()


def math_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **more: Any
) -> Tensor:
    """Compute attention by matrix products, on any build of torch."""
    attended: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, *rest, **more
    )
    return attended[0]


def random_state() -> Tensor:
    return torch.zeros(16, dtype=torch.uint8)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Answer as torch does: every card can make bfloat16 tensors, which are slow if it lacks instructions for them."""
    return CARD.has_bfloat16 or including_emulation


ANSWERS: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": is_bf16_supported,
    "is_current_stream_capturing": lambda: False,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "_get_device_index": lambda *_, **__: 0,
    "get_device_name": lambda *_: CARD.name,
    "get_device_properties": lambda *_: Properties(),
    "get_device_capability": lambda *_: CARD.capability,
    "synchronize": synchronize,
    "memory_allocated": lambda *_: 0,
    "max_memory_allocated": lambda *_: 0,
    "memory_reserved": lambda *_: 0,
    "max_memory_reserved": lambda *_: 1 << 30,
    "mem_get_info": lambda *_: (CARD.total_bytes * 3 // 4, CARD.total_bytes),
    "get_rng_state": lambda *_: random_state(),
    "get_rng_state_all": lambda: [random_state()],
    "_is_in_bad_fork": lambda: False,
    "current_stream": lambda *_: Context(),
    "default_stream": lambda *_: Context(),
    **dict.fromkeys(("device", "stream", "Stream", "Event"), Context),
    **dict.fromkeys(
        (
            "set_device",
            "init",
            "_lazy_init",
            "empty_cache",
            "ipc_collect",
            "manual_seed",
            "manual_seed_all",
            "set_rng_state",
            "set_rng_state_all",
            "reset_peak_memory_stats",
            "set_per_process_memory_fraction",
        ),
        nothing,
    ),
}


def install() -> Mode:
    """Make torch believe that it has this GPU, for the rest of the process."""
    import peft  # noqa: F401  # before the GPU is there: it, bitsandbytes and trl look for parts of CUDA
    import torch._dynamo
    import transformers.utils

    transformers.utils.is_triton_available = lambda: False  # its kernels would use a real driver
    with suppress(ImportError):  # a machine may lack it, or datasets, which it needs (without.py)
        import trl.trainer.utils

        trl.trainer.utils._use_triton = lambda device: True  # as on CUDA: only labelled positions are scored
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # only this thread knows the pretended GPU
    torch._dynamo.trace_rules.get_torch_obj_rule_map()  # caches the functions that are replaced below
    for name, answer in ANSWERS.items():
        setattr(torch.cuda, name, answer)
    attend = torch.nn.functional.scaled_dot_product_attention
    if torch.version.cuda is not None:  # it would ask a real driver for the kernel
        attend = math_attention

    def seen(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Any:
        kind = "none" if attn_mask is None else str(attn_mask.dtype).removeprefix("torch.")
        COUNTS.masks[kind] += 1
        return attend(query, key, value, attn_mask=attn_mask, **more)

    torch.nn.functional.scaled_dot_product_attention = seen
    torch.inference_mode = inference  # wrapped tensors can't be made inference tensors
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    torch.autograd.set_multithreading_enabled(False)
    mode = Mode()
    mode.__enter__()
    return mode
