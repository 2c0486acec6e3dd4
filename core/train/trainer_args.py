"""Turns a recipe into a trainer's arguments: our defaults, and `trainer_args` checked against the trainer's class."""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, did_you_mean, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from finetop.core.recipe.schema import Recipe

# Options that a section of the recipe sets: two places for one number would contradict each other.
ELSEWHERE = {
    "learning_rate": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    "max_steps": "train.max_steps",
    "per_device_train_batch_size": "train.batch_size",
    "per_device_eval_batch_size": "train.eval_batch_size",
    "gradient_accumulation_steps": "train.grad_accumulation",
    "lr_scheduler_type": "train.schedule",
    "warmup_steps": "train.warmup_steps",
    "optim": "train.optimizer",
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.max_grad_norm",
    "seed": "train.seed",
    "eval_steps": "train.eval_every",
    "eval_strategy": "train.eval_every",
    "save_steps": "train.save_every",
    "save_strategy": "train.save_every",
    "save_total_limit": "train.keep_checkpoints",
    "max_length": "data.max_tokens",
    "truncation_mode": "data.on_long",
    "packing": "objective.packing",
    "neftune_noise_alpha": "objective.neftune_alpha",
    "completion_only_loss": "objective.loss",
    "assistant_only_loss": "objective.loss",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "trust_remote_code": "model.trust_remote_code",
    "chat_template_path": "model.chat_template",
    "activation_checkpointing": "train.activation_checkpointing",
}
# Options that finetop's own reading, logging and saving rest on.
OURS = {
    "output_dir",
    "report_to",
    "logging_steps",
    "logging_strategy",
    "logging_nan_inf_filter",
    "disable_tqdm",
    "use_cpu",
    "push_to_hub",
    "remove_unused_columns",
    "dataset_kwargs",
    "dataset_text_field",
    "model_init_kwargs",
    "eos_token",
    "pad_token",
    "shuffle_dataset",
    "do_train",
    "do_eval",
    "do_predict",
    "resume_from_checkpoint",
    "load_best_model_at_end",
    "eval_on_start",
}
# What older versions and tutorials call them.
RENAMED = {
    "max_seq_length": "data.max_tokens of the recipe",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "warmup_ratio": "train.warmup_steps of the recipe (0.03 is a share)",
    "evaluation_strategy": "train.eval_every of the recipe",
    "no_cuda": "CUDA_VISIBLE_DEVICES in the environment",
    "load_in_4bit": "model.quantize of the recipe",
    "load_in_8bit": "model.quantize of the recipe",
    "gradient_checkpointing": "train.activation_checkpointing of the recipe",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "fp16_backend": "model.dtype of the recipe",
    "use_mps_device": "nothing: it is picked where there is one",
    "overwrite_output_dir": "nothing: every run has a folder of its own",
    "logging_dir": "nothing: finetop keeps the metrics",
    "tokenizer": "model.id of the recipe",
    "per_gpu_train_batch_size": "train.batch_size of the recipe",
    "use_liger_kernel": "nothing: it does not go with the memory-saving loss",
}
OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "adamw-8bit": "adamw_bnb_8bit",  # arXiv:2110.02861
    "paged-adamw-8bit": "paged_adamw_8bit",  # its states go to the host where the GPU is full
}
GPU_ONLY = ("adamw-8bit", "paged-adamw-8bit")
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def common(recipe: Recipe, dtype: str, device: str, output: Path) -> dict[str, Any]:
    """Return the arguments that every trainer of transformers takes, as the recipe says.

    Raises BadInput for an optimizer that this device has not.
    """
    train = recipe.train
    is_cuda = device.startswith("cuda")
    if train.optimizer in GPU_ONLY and not is_cuda:
        raise BadInput(
            f"train.optimizer: {train.optimizer} needs a CUDA GPU, and this runs on {device}.",
            hint="Set train.optimizer to adamw, or to adafactor, which takes less memory too.",
        )
    return {
        "output_dir": str(output),
        "num_train_epochs": train.epochs if train.epochs is not None else 1.0,  # see limit_steps
        "per_device_train_batch_size": train.batch_size,
        "per_device_eval_batch_size": train.eval_batch_size or train.batch_size,
        "gradient_accumulation_steps": train.grad_accumulation,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": SCHEDULES[train.schedule],
        "warmup_steps": train.warmup_steps,
        "optim": "adamw_torch_fused"
        if train.optimizer == "adamw" and is_cuda
        else OPTIMIZERS[train.optimizer],
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "seed": train.seed,
        "data_seed": train.seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": device == "cpu",
        "activation_checkpointing": train.activation_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},  # needs no gradient at its input
        "eval_strategy": "no",  # finetop's own callback asks for evaluations and saves
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a NaN by the mean so far
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": is_cuda,
    }


def configure(
    config: Any, values: dict[str, Any], raw: dict[str, Any], own: Mapping[str, str] | None = None
) -> Any:
    """Build a trainer's arguments of its class, the recipe's raw options last.

    `own` says of options which setting of the objective has them. Raises BadInput for a raw option that is
    unknown, renamed or set elsewhere.
    """
    known = {field.name for field in dataclasses.fields(config) if field.init}
    check_raw(raw, known, config.__name__, own or {})
    try:
        return config(**{**values, **raw})
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(f"trainer_args: {first_line(error)}", hint="Change or remove that option.") from error


def limit_steps(recipe: Recipe, rows: int) -> int:
    """Count the steps of a run over that many rows (or packed sequences): epochs, cut short by max_steps."""
    train = recipe.train
    per_epoch = max(1, math.ceil(math.ceil(rows / train.batch_size) / train.grad_accumulation))
    wanted = math.inf if train.epochs is None else math.ceil(train.epochs * per_epoch)
    return int(min(wanted, math.inf if train.max_steps is None else train.max_steps))


def check_raw(
    raw: dict[str, Any],
    known: set[str],
    config: str = "SFTConfig",
    own: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """See that each raw option exists and is set nowhere else. Raises BadInput that says what to use."""
    for name in raw:
        key = f"trainer_args.{name}"
        if setting := own.get(name) or ELSEWHERE.get(name):
            raise BadInput(f"{key}: it is a setting of the recipe.", hint=f"Set {setting}.")
        if name in OURS:
            raise BadInput(f"{key}: finetop sets it itself.", hint="Remove it.")
        if name in RENAMED:
            raise BadInput(f"{key}: it is gone or renamed.", hint=f"Use {RENAMED[name]}.")
        if name not in known:
            near = did_you_mean(name, known)
            hint = near if near.startswith("Did") else f"See the options of trl.{config}."
            raise BadInput(f"{key} is not an option of the trainer.", hint=hint)
