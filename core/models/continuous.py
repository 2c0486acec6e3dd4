"""Answers generated with transformers' continuous batching: one that ends makes room for the next at once.

Its loop runs in this thread, and all prompts are queued before its first step: batches are then the same each time,
an error is raised where it happened, and a request to stop gets through. It computes on this thread's stream, after the
optimizer's last kernels, in the memory that torch keeps between the steps of a training.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.models.attention import kernel_of

if TYPE_CHECKING:
    import torch

PAGE = 32  # tokens per page of keys and values; prompts with the same beginning share pages
TOGETHER = 256  # answers generated at once: each has a row of logits


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt, the maximum length of its answer, and an optional test for its end, besides the end tokens."""

    tokens: Sequence[int]
    longest: int
    has_ended: Callable[[list[int]], bool] | None = None

    @property
    def pages(self) -> int:
        """Return the number of pages that prompt and answer fill."""
        return -(-(len(self.tokens) + self.longest) // PAGE)


def pages_kept(each: Sequence[int], held: int) -> int:
    """Return the pages kept at once, for answers that fill `each`: those of `held` tokens, or of the longest alone."""
    return min(sum(each), max(held // PAGE, max(each)))


def bytes_held(
    pages: int, at_once: int, kinds: Sequence[int], token: float, size: float, *, flash: bool
) -> float:
    """Return the bytes that transformers uses for `pages` pages: its cache, masks in the model's format, indexes.

    `kinds` counts the layers with each kind of attention, `token` is the bytes of a token's keys and values in all
    layers. Each kind has a mask, with a cell for every token read in a step times every token that fits the cache. A
    kind of few layers has more cells than one of many: all share one cache, in sectors that both divide. Two sectors
    are padding.
    """
    layers = sum(kinds)
    sector = math.lcm(*kinds)  # in pages of one layer
    sectors = -(-(pages + 1) * layers // sector)
    seen = sectors * sector // min(kinds) * PAGE + at_once
    masks = 0.0 if flash else at_once * seen * size
    return (sectors + 2) * sector * PAGE * token / layers + len(kinds) * (masks + 8 * (seen + at_once))


def write(
    model: Any,
    asked: Sequence[GenerationRequest],
    config: Any,
    *,
    held: int,
    at_once: int,
    flash: bool = False,
) -> list[list[int]]:
    """Generate an answer to each prompt, as a GenerationConfig says, up to and including its end.

    At most `held` tokens of prompts and answers are kept, or those of the longest alone; a step reads `at_once` tokens.
    Raises what a forward pass raises.
    """
    import torch
    from transformers.generation import ContinuousBatchingConfig

    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)  # errors are raised below
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    pages = pages_kept([request.pages for request in asked], held)
    kernel, was_training = kernel_of(inner), inner.training
    settings = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=pages + 1,
        max_batch_tokens=at_once,
        max_memory_percent=1.0,
        max_requests_per_batch=min(len(asked), TOGETHER),
        max_blocks_per_request=0,
        use_cuda_graph=False,  # a kept graph would miss changes of trained weights
        use_async_batching=False,
        auto_switch_to_flash=flash,
        seed=int(torch.randint(2**31, ()).item()),
    )
    devices = [inner.device] if inner.device.type == "cuda" else []
    # A trainer's wrapper for autocast would make the cache float32.
    wrapped = inner.__dict__.pop("forward", None)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):  # the manager seeds the whole process
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
    """Make a manager compute on this thread's stream, and leave torch the memory that it keeps.

    Its own stream would not wait for ours, on which weights and inputs are written, and could not use memory freed on
    another. It would return torch's free memory to the driver at its start and end, collect garbage, and report a full
    GPU as MemoryError; torch reports that with its own numbers.
    """
    from transformers.generation.continuous_batching import cache as caches

    create, breakdown = manager._create_batch_processor, caches.get_device_and_memory_breakdown  # noqa: SLF001  # no public name

    def make_processor() -> Any:
        processor = create()
        processor.__class__ = _without_sweeping(type(processor))
        processor.inputs_and_outputs.compute_stream = None
        processor.offloading_manager._compute_stream = None  # noqa: SLF001  # no public name
        return processor

    manager._create_batch_processor = make_processor  # noqa: SLF001  # no public name
    if device.type == "cuda":
        caches.get_device_and_memory_breakdown = lambda: (device, sys.maxsize, 0, 0)
    try:
        yield
    finally:
        caches.get_device_and_memory_breakdown = breakdown
        del manager._create_batch_processor  # noqa: SLF001  # no public name
        manager.batch_processor = None  # frees the cache


def _without_sweeping(kind: type[Any]) -> type[Any]:
    """Return a subclass of `kind` without its `__del__`, which empties torch's memory."""
    return type(kind.__name__, (kind,), {"__del__": lambda self: None})


def _run(manager: Any, asked: Sequence[GenerationRequest]) -> list[list[int]]:
    """Queue all prompts, those with the same beginning together, and generate until each has its answer."""
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


def _request(name: str, request: GenerationRequest, ends: Any) -> Any:
    from transformers.generation.continuous_batching.requests import RequestState, RequestStatus

    state = RequestState(name, list(request.tokens), max_new_tokens=request.longest, eos_token_id=ends)
    if request.has_ended is None:
        return state
    has_ended, update = request.has_ended, state.update_and_check_completion

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
    """Return whether flash-attn is installed, which makes it fast: SDPA needs a mask of the whole cache."""
    from importlib.util import find_spec

    return find_spec("flash_attn") is not None
