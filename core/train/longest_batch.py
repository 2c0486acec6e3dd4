"""One step on the longest rows before the first step: a run that does not fit fails in its first minute.

Trained weights, gradients, the optimizer, the trainer's counts and all random states are restored, so that a run is
bit-identical with and without it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from finetop.core.errors import FinetopError
from finetop.core.models import shards
from finetop.core.models.devices import free_memory
from finetop.core.protocol.events import Phase
from finetop.core.recipe.job import settings_to_lower
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime import failures
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import check_callback, loss_scale, paged, parallel
from finetop.core.train.resume import random_state
from finetop.core.train.trainer_args import mixed_dtype, recompute_activations

# Bytes; the buffers that a forward pass may change (rotary angles for long rows) are small.
LARGEST_BUFFER = 1 << 20
PROMPTS = ("prompt_ids", "prompt_input_ids", "prompt_attention_mask")  # what comes before a row's answers


class DoesNotFit(FinetopError):
    """The longest rows need more memory than there is; exit code 1."""


def is_wanted(recipe: Recipe, device: str) -> bool:
    """Return whether to try: as the recipe says, or for auto on every device but the CPU."""
    setting = recipe.train.try_worst_batch
    return device != "cpu" if setting == "auto" else setting


def try_worst(
    trainer: Any,
    recipe: Recipe,
    device: str,
    events: EventLog,
    checks: check_callback.TrainingChecks | None = None,
) -> None:
    """Take the costliest step that the run can meet, if its recipe wants it, and undo it.

    That step takes the longest rows in full batches, with the optimizer.
    Then evaluate the longest rows, and score the longest batch of a check. If the model generates its own answers, each
    has the maximum length, and gets a reward. `trainer` is transformers' or PPO's, before its `train`. The trained
    weights are copied to the CPU meanwhile. Raises DoesNotFit.
    """
    if not is_wanted(recipe, device):
        return
    events.write(Phase("trying the longest rows"))
    try:
        with _undone(trainer, device):
            if hasattr(trainer, "try_longest"):  # PPO's own trainer
                trainer.try_longest()
            else:
                with _at_full_length(trainer):
                    _train(trainer, device)
                    _evaluate(trainer, device)
            if checks is not None:  # with the optimizer's states in memory, as later
                check_callback.try_longest(checks)
    except Exception as error:
        if not failures.is_out_of_memory(error):
            raise
        ended = failures.ended(error, settings_to_lower(recipe, in_float16=trainer.args.fp16))
        # from None: the traceback of the first error holds the tensors that did not fit
        too_long = DoesNotFit(f"the longest rows do not fit: {ended.cause}", hint=ended.hint)
        too_long.kind = failures.as_kind(ended.kind)
        raise too_long from None
    print("the longest rows fit: a step and an evaluation were tried, and undone", flush=True)


def _train(trainer: Any, device: str) -> None:
    """Run forward, backward and optimizer; twice with gradient accumulation, so that both gradients are in memory."""
    arguments = trainer.args
    batch = _longest_of_step(trainer)
    recompute_activations(trainer.model, arguments)
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = arguments.gradient_accumulation_steps
    with _as_prepared(trainer, device):
        for _ in range(min(2, arguments.gradient_accumulation_steps)):
            inputs = _collate(trainer, trainer.train_dataset, batch, "training")
            count = trainer._get_num_items_in_batch([inputs], arguments.device)  # noqa: SLF001  # as its training does
            trainer.training_step(trainer.model, inputs, count)
    parallel.skip_unused_search(trainer)
    moving = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    loss_scale.unscale(trainer, moving)
    torch.nn.utils.clip_grad_norm_(moving, arguments.max_grad_norm or 1.0)
    trainer.optimizer.step()
    trainer.model.zero_grad(set_to_none=True)


def _longest_of_step(trainer: Any) -> list[int]:
    """Return the indexes of the longest rows that one step takes; answers to the same prompt are adjacent."""
    count = trainer.args.per_device_train_batch_size
    if not _writes(trainer):
        return longest(trainer.train_dataset, count)
    rows = count * trainer.args.steps_per_generation  # all answers of a step are generated together
    prompts = longest(trainer.train_dataset, -(-rows // trainer.num_generations))
    return [prompt for prompt in prompts for _ in range(trainer.num_generations)][:rows]


def _writes(trainer: Any) -> bool:
    return hasattr(trainer, "_generate_and_score_completions")  # GRPO, RLOO


@contextmanager
def _at_full_length(trainer: Any) -> Iterator[None]:
    """Force every answer generated meanwhile to the maximum length."""
    if not _writes(trainer) or not hasattr(trainer, "generation_config"):  # vLLM's cache exists already
        yield
        return
    config = trainer.generation_config
    shortest = config.min_new_tokens
    config.min_new_tokens = config.max_new_tokens
    try:
        yield
    finally:
        config.min_new_tokens = shortest


def _evaluate(trainer: Any, device: str) -> None:
    if trainer.eval_dataset is None or not len(trainer.eval_dataset):
        return
    batch = longest(trainer.eval_dataset, trainer.args.per_device_eval_batch_size)
    inputs = _collate(trainer, trainer.eval_dataset, batch, "evaluation")
    trainer.model.eval()
    with _as_prepared(trainer, device):
        trainer.prediction_step(trainer.model, inputs, prediction_loss_only=True)


def longest(rows: Any, count: int) -> list[int]:
    """Return the indexes of a data set's longest rows of token ids, longest first; repeated if there are too few."""
    prompts, answers = [0] * len(rows), [0] * len(rows)
    for name in rows.column_names:
        if not name.endswith("_ids") and name != "prompt":
            continue
        for index, ids in enumerate(rows[name]):
            if name in ("prompt", "prompt_ids"):
                prompts[index] = len(ids)
            elif isinstance(ids, list):  # the prompt comes before each of the row's answers
                answers[index] = max(answers[index], len(ids))
    lengths = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    order = sorted(range(len(rows)), key=lambda index: -lengths[index])[:count]
    return [order[index % len(order)] for index in range(count)]


def _collate(trainer: Any, rows: Any, batch: Sequence[int], description: str) -> Any:
    kept = trainer._remove_unused_columns(rows, description=description)  # noqa: SLF001  # as its training does
    return trainer.data_collator(uneven([kept[index] for index in batch]))


def uneven(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Shorten the last of several rows by a token, as in usual batches: rows of equal length would need no mask."""
    if len(rows) < 2 or "seq_lengths" in rows[0]:
        return rows
    cuts = [name for name, value in rows[-1].items() if isinstance(value, list) and len(value) > 1]
    last = rows[-1] | {name: rows[-1][name][:-1] for name in cuts if name not in PROMPTS}
    return [*rows[:-1], last]


@contextmanager
def _as_prepared(trainer: Any, device: str) -> Iterator[None]:
    """Run the model as accelerate will: in mixed precision, with outputs converted to float32."""
    from accelerate.utils import convert_outputs_to_fp32

    arguments, model = trainer.args, trainer.model
    dtype = mixed_dtype(arguments)
    if dtype is None:
        yield
        return
    own = vars(model).get("forward")
    mixed = torch.autocast(device_type=torch.device(device).type, dtype=dtype)
    model.forward = convert_outputs_to_fp32(mixed(model.forward))
    try:
        yield
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own


@contextmanager
def _undone(trainer: Any, device: str) -> Iterator[None]:
    """Restore everything that a step changes, also after an error."""
    model = trainer.model
    held = _copies(model) + (_copies(trainer.value) if hasattr(trainer, "value") else [])
    modes = [(module, module.training) for module in model.modules()]
    optimizer = trainer.optimizer
    own, counts = _own_state(trainer), _plain(trainer.state)
    randomness = random_state.now()
    try:
        yield
    finally:
        _flush(trainer)
        model.zero_grad(set_to_none=True)
        for module, was_training in modes:
            module.training = was_training
        for tensor, copied in held:
            with torch.no_grad():
                tensor.copy_(copied)
        used_optimizer = trainer.optimizer
        if paged.is_paged(used_optimizer):  # its buffers are never freed: training uses the same ones
            paged.begin_anew(used_optimizer)
        else:
            if optimizer is not None:
                optimizer.state.clear()
            trainer.optimizer = optimizer
        for name, value in own.items():
            setattr(trainer, name, value)
        for name, value in counts.items():
            setattr(trainer.state, name, value)
        free_memory(device)
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        random_state.put_back(randomness)


def _copies(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Copy to the CPU what a step may change: trained weights and small buffers."""
    moving = [weight.data for weight in model.parameters() if weight.requires_grad]
    buffers = [held for held in model.buffers() if held.numel() * held.element_size() <= LARGEST_BUFFER]
    held = [shards.local(tensor).detach() for tensor in (*moving, *buffers)]
    return [(tensor, tensor.to("cpu", copy=True)) for tensor in held]


def _own_state(trainer: Any) -> dict[str, Any]:
    """Copy the trainer's plain attributes: counts, and what TRL collects between two log lines."""
    own = vars(trainer)
    collected = {name: copy.deepcopy(own[name]) for name in ("_metrics", "_logs") if name in own}
    return _plain(trainer) | collected


def _plain(holder: Any) -> dict[str, Any]:
    """Return the attributes that are plain values."""
    plain = bool | int | float | str | None
    return {name: value for name, value in vars(holder).items() if isinstance(value, plain)}


def _flush(trainer: Any) -> None:
    """Empty what an objective collects for its next log line, without callbacks."""
    if not hasattr(trainer, "log"):
        return
    hooks, lines = trainer.callback_handler.callbacks, len(trainer.state.log_history)
    trainer.callback_handler.callbacks = []
    try:
        trainer.model.train()
        trainer.log({"loss": 0.0})
    finally:
        trainer.callback_handler.callbacks = hooks
        del trainer.state.log_history[lines:]
