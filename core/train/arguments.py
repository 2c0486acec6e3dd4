"""Turns a recipe into TRL's SFTConfig: our defaults, and `trainer_args` checked against that class."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from trl import SFTConfig

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
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "fp16_backend": "model.dtype of the recipe",
    "use_mps_device": "nothing: it is picked where there is one",
    "overwrite_output_dir": "nothing: every run has a folder of its own",
    "logging_dir": "nothing: finetop keeps the metrics",
    "tokenizer": "model.id of the recipe",
    "per_gpu_train_batch_size": "train.batch_size of the recipe",
    "use_liger_kernel": "nothing: it does not go with the memory-saving loss",
}
OPTIMIZERS = {"adamw": "adamw_torch", "adafactor": "adafactor", "sgd": "sgd"}
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def build(recipe: Recipe, dtype: str, device: str, output: Path) -> SFTConfig:
    """Build the trainer's arguments. Raises BadInput for a raw option that is unknown, renamed or ours."""
    from trl import SFTConfig

    train, options = recipe.train, recipe.objective.options
    is_cuda = device.startswith("cuda")
    ours: dict[str, Any] = {
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
        "packing": options.packing,
        "max_length": recipe.data.max_tokens if options.packing else None,  # rows are already cut
        "neftune_noise_alpha": options.neftune_alpha,
        "train_sampling_strategy": "random" if options.packing else "group_by_length",
        "activation_checkpointing": False,
        "eval_strategy": "no",  # finetop's own callback asks for evaluations and saves
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a NaN by the mean so far
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": is_cuda,
    }
    check_raw(recipe.trainer_args, {field.name for field in dataclasses.fields(SFTConfig) if field.init})
    try:
        return SFTConfig(**{**ours, **recipe.trainer_args})
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(
            f"trainer_args: {str(error).splitlines()[0]}", hint="Change or remove that option."
        ) from error


def limit_steps(recipe: Recipe, rows: int) -> int:
    """Count the steps of a run over that many rows (or packed sequences): epochs, cut short by max_steps."""
    train = recipe.train
    per_epoch = max(1, math.ceil(math.ceil(rows / train.batch_size) / train.grad_accumulation))
    wanted = math.inf if train.epochs is None else math.ceil(train.epochs * per_epoch)
    return int(min(wanted, math.inf if train.max_steps is None else train.max_steps))


def check_raw(raw: dict[str, Any], known: set[str]) -> None:
    """See that each raw option exists and is set nowhere else. Raises BadInput that says what to use."""
    for name in raw:
        key = f"trainer_args.{name}"
        if name in ELSEWHERE:
            raise BadInput(f"{key}: it is a setting of the recipe.", hint=f"Set {ELSEWHERE[name]}.")
        if name in OURS:
            raise BadInput(f"{key}: finetop sets it itself.", hint="Remove it.")
        if name in RENAMED:
            raise BadInput(f"{key}: it is gone or renamed.", hint=f"Use {RENAMED[name]}.")
        if name not in known:
            near = did_you_mean(name, known)
            hint = near if near.startswith("Did") else "See the options of trl.SFTConfig."
            raise BadInput(f"{key} is not an option of the trainer.", hint=hint)
