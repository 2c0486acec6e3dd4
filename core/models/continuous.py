"""Answers written by the continuous batching of transformers: one that ends makes room for the next at once.

Its loop runs in this thread, and all prompts are there before its first step: which of them are read together is then
the same each time, an error is raised where it happened, and a wish to stop comes through. It computes on this thread's
stream, behind the optimizer's last kernels, in the memory that torch keeps between the steps of a training.
"""

from __future__ import annotations

import logging
import math
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.models.attention import kernel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

PAGE = 32  # tokens of keys and values that are handed out together, and shared by prompts that begin alike
TOGETHER = 256  # answers that are written side by side: each has a row of logits


@dataclass(frozen=True)
class Asked:
    """A prompt, the most tokens of its answer, and what says that it has ended, beside a token that ends it."""

    tokens: Sequence[int]
    longest: int
    has_ended: Callable[[list[int]], bool] | None = None

    @property
    def pages(self) -> int:
        """Count the pages that prompt and answer fill."""
        return -(-(len(self.tokens) + self.longest) // PAGE)


def pages_kept(each: Sequence[int], held: int) -> int:
    """Count the pages that are kept at once, of answers that fill so many each: `held` tokens, or the longest alone."""
    return min(sum(each), max(held // PAGE, max(each)))


def bytes_held(
    pages: int, at_once: int, kinds: Sequence[int], token: float, size: float, *, flash: bool
) -> float:
    """Count the bytes that transformers holds for so many pages: its cache, masks in the model's numbers, places.

    `kinds` says how many layers have each kind of attention, `token` the bytes of a token's keys and values in all
    layers. Each kind has a mask, with a cell for all that is read in a step and all that can lie in the cache: of few
    layers that is more than of many, as all share one cache, in sectors that both divide. Two more are for padding.
    """
    layers = sum(kinds)
    sector = math.lcm(*kinds)  # in pages of one layer
    sectors = -(-(pages + 1) * layers // sector)
    seen = sectors * sector // min(kinds) * PAGE + at_once
    masks = 0.0 if flash else at_once * seen * size
    return (sectors + 2) * sector * PAGE * token / layers + len(kinds) * (masks + 8 * (seen + at_once))


def write(
    model: Any, asked: Sequence[Asked], config: Any, *, held: int, at_once: int, flash: bool = False
) -> list[list[int]]:
    """Write on behind each prompt, as a GenerationConfig says; an answer has its end with it.

    At most `held` tokens of prompts and answers are kept, or those of the longest alone; `at_once` are read in a step.
    Raises what a forward pass raises.
    """
    import torch
    from transformers.generation import ContinuousBatchingConfig

    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)  # errors are raised below
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    pages = pages_kept([one.pages for one in asked], held)
    kernel, was_training = kernel_of(inner), inner.training
    settings = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=pages + 1,
        max_batch_tokens=at_once,
        max_memory_percent=1.0,
        max_requests_per_batch=min(len(asked), TOGETHER),
        max_blocks_per_request=0,
        use_cuda_graph=False,  # weights that train move under a graph that was kept
        use_async_batching=False,
        auto_switch_to_flash=flash,
        seed=int(torch.randint(2**31, ()).item()),
    )
    devices = [inner.device] if inner.device.type == "cuda" else []
    # a trainer's, for autocast: it would make the cache float32
    wrapped = inner.__dict__.pop("forward", None)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):  # it seeds the whole process
            manager = inner.init_continuous_batching(config, settings)
            with _ours(manager, inner.device):
                return _run(manager, asked)
    finally:
        if wrapped is not None:
            inner.forward = wrapped
        if kernel_of(inner) != kernel:
            inner.set_attn_implementation(kernel)
        inner.train(was_training)


@contextmanager
def _ours(manager: Any, device: torch.device) -> Iterator[None]:
    """Let what a manager makes meanwhile compute on this thread's stream, and leave torch the memory that it keeps.

    Its own stream does not wait for ours, where weights and its inputs are written, and could use no memory that was
    freed on another. It would hand all of torch's free memory back as it begins and as it ends, look through the
    garbage, and report a GPU that lacks memory as MemoryError; torch reports that in its own numbers.
    """
    from transformers.generation.continuous_batching import cache as caches

    create, look = manager._create_batch_processor, caches.get_device_and_memory_breakdown  # noqa: SLF001  # no public name

    def made() -> Any:
        processor = create()
        processor.__class__ = _without_sweeping(type(processor))
        processor.inputs_and_outputs.compute_stream = None
        processor.offloading_manager._compute_stream = None  # noqa: SLF001  # no public name
        return processor

    manager._create_batch_processor = made  # noqa: SLF001  # no public name
    if device.type == "cuda":
        caches.get_device_and_memory_breakdown = lambda: (device, sys.maxsize, 0, 0)
    try:
        yield
    finally:
        caches.get_device_and_memory_breakdown = look
        del manager._create_batch_processor  # noqa: SLF001  # no public name
        manager.batch_processor = None  # with the cache


def _without_sweeping(kind: type[Any]) -> type[Any]:
    """Return a class of theirs without what it does as it goes."""
    return type(kind.__name__, (kind,), {"__del__": lambda self: None})


def _run(manager: Any, asked: Sequence[Asked]) -> list[list[int]]:
    """Hand in all prompts, those that begin alike side by side, and write until each has its answer."""
    import torch

    config, status = manager.generation_config, manager.background_thread_status
    for number in sorted(range(len(asked)), key=lambda at: (tuple(asked[at].tokens), at)):
        manager.input_queue.put(_request(str(number), asked[number], config.eos_token_id))
    status.request_stop(status.FLUSH_AND_STOP, 0)
    manager._run_generation_loop(use_inference_mode=torch.is_inference_mode_enabled())  # noqa: SLF001  # no public name
    if status.fatal_error is not None:
        raise status.fatal_error
    results = manager.output_router.output_queue
    written = {}
    while not results.empty():
        result = results.get()
        if result.error is not None:
            raise RuntimeError(f"continuous batching: {result.error}")
        written[result.request_id] = list(result.generated_tokens)
    return [written[str(number)] for number in range(len(asked))]


def _request(name: str, one: Asked, ends: Any) -> Any:
    from transformers.generation.continuous_batching.requests import RequestState, RequestStatus

    state = RequestState(name, list(one.tokens), max_new_tokens=one.longest, eos_token_id=ends)
    if one.has_ended is None:
        return state
    has_ended, update = one.has_ended, state.update_and_check_completion

    def update_or_end(token: int, log_prob: float | None) -> bool:
        if update(token, log_prob):
            return True
        if has_ended(state.generated_tokens):
            state.status = RequestStatus.FINISHED
            return True
        return False

    state.update_and_check_completion = update_or_end
    return state


def has_flash() -> bool:
    """Say if flash-attn is installed, with which it is fast: SDPA makes a mask of all that is held."""
    from importlib.util import find_spec

    return find_spec("flash_attn") is not None
