"""Turns a recipe into a trainer's arguments: our defaults, and `trainer_args` checked against the trainer's class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, first_line, near
from finetop.core.recipe import raw_options
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.train import objectives

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def common(recipe: Recipe, dtype: str, device: str, output: Path) -> dict[str, Any]:
    """Return the recipe's arguments common to all trainers. Raises BadInput for an optimizer unfit for the device."""
    train = recipe.train
    is_cuda = device.startswith("cuda")
    optimizer = OPTIMIZERS[train.optimizer]
    if (name := optimizer.on_gpu if is_cuda else optimizer.on_cpu) is None:
        message = f"train.optimizer: {train.optimizer} needs a CUDA GPU, and this runs on {device}."
        hint = "Set train.optimizer to adamw, or to adafactor, which takes less memory too."
        raise BadInput(message, hint=hint)
    return {
        "output_dir": str(output),
        "num_train_epochs": train.epochs if train.epochs is not None else 1.0,  # see count_steps
        "per_device_train_batch_size": train.batch_size,
        "per_device_eval_batch_size": train.eval_batch_size or train.batch_size,
        "gradient_accumulation_steps": train.grad_accumulation,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": SCHEDULES[train.schedule],
        "warmup_steps": train.warmup_steps,
        "optim": name,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "seed": train.seed,
        "data_seed": train.seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": device == "cpu",
        "activation_checkpointing": train.activation_checkpointing is True,
        "torch_compile": train.compile,
        "activation_checkpointing_kwargs": {"use_reentrant": False},  # works without a gradient at its input
        "eval_strategy": "no",  # finetop's own callback triggers evaluations and saves
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a NaN by the mean so far
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": is_cuda,
    }


def recompute_activations(model: Any, arguments: Any) -> None:
    """Make a model recompute its activations instead of keeping them, if the arguments say so."""
    if arguments.activation_checkpointing:
        options = arguments.activation_checkpointing_kwargs
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)


def mixed_dtype(arguments: Any) -> Any:
    """Return torch's 16-bit dtype of mixed precision; None without it."""
    import torch

    return torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None


def configure(
    config: Any, values: dict[str, Any], raw: dict[str, Any], own: Mapping[str, str] | None = None
) -> Any:
    """Build a trainer's arguments of class `config`; the recipe's raw options override `values`.

    `own` maps options to the objective's settings that set them. Raises BadInput for a raw option that is unknown,
    renamed or set elsewhere.
    """
    known = {field.name for field in dataclasses.fields(config) if field.init}
    check_raw(raw, known, config.__name__, own or {})
    try:
        return config(**{**values, **raw})
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(f"trainer_args: {first_line(error)}", hint="Change or remove that option.") from error


def check_raw(
    raw: dict[str, Any],
    known: set[str],
    config: str = "SFTConfig",
    own: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Check that each raw option exists and is not set elsewhere. Raises BadInput that says what to use."""
    for _, message, hint in raw_options.problems(raw, own):
        raise BadInput(message, hint=hint)
    for name in raw:
        if name not in known:
            meant = near(name, known)
            hint = f"Did you mean {meant}?" if meant else f"See the options of trl.{config}."
            raise BadInput(f"trainer_args.{name} is not an option of the trainer.", hint=hint)


def require_raw(recipe: Recipe) -> None:
    """Check the recipe's raw options against the class of the objective's trainer. Raises BadInput."""
    if not recipe.trainer_args:
        return
    objective = objectives.load(recipe.objective.name)
    module, _, name = objective.config.rpartition(".")
    known = {field.name for field in dataclasses.fields(getattr(import_module(module), name)) if field.init}
    check_raw(recipe.trainer_args, known, name, objective.own)
