"""Options under `trainer_args:` that a recipe can't pass to the trainer, and what to use instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Options that a section of the recipe sets: two places for one value would contradict each other.
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
    "torch_compile": "train.compile",
    "use_liger_kernel": "train.kernels",
    "load_best_model_at_end": "train.keep to best",
    "metric_for_best_model": "train.keep to best, or train.stop_early.metric",
}
# Options that finetop's own reading, logging and saving depend on.
OURS = {
    *("output_dir", "report_to", "logging_steps", "logging_strategy", "logging_nan_inf_filter"),
    *("disable_tqdm", "dataset_kwargs", "dataset_text_field", "eos_token"),
    *("use_cpu", "push_to_hub", "remove_unused_columns", "pad_token", "model_init_kwargs"),
    *("shuffle_dataset", "do_train", "do_eval", "do_predict", "eval_on_start"),
    "resume_from_checkpoint",
}
# Distribution over GPUs, which the recipe sets in other ways.
SEVERAL_GPUS = {
    *("deepspeed", "fsdp", "fsdp_config", "parallelism_config"),
    *("accelerator_config", "local_rank", "ddp_backend"),
}
# Options that would make a run differ from its recipe.
UNSOUND = {
    # Seen in transformers 5.24: after N steps it restarts at step 1, with the weights of step N and the step
    # count of the larger batch.
    "auto_find_batch_size": (
        "it would restart on changed weights and cover fewer rows.",
        "Remove it, and set train.batch_size (finetop plan says what fits) and train.grad_accumulation.",
    ),
}
OF_THE_RECIPE = " of the recipe"
# Names in older versions and tutorials.
RENAMED = {
    "max_seq_length": "data.max_tokens of the recipe",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "warmup_ratio": "train.warmup_steps of the recipe",
    "evaluation_strategy": "train.eval_every of the recipe",
    "no_cuda": "CUDA_VISIBLE_DEVICES in the environment",
    "load_in_4bit": "model.quantize of the recipe",
    "load_in_8bit": "model.quantize of the recipe",
    "gradient_checkpointing": "train.activation_checkpointing of the recipe",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "fp16_backend": "model.dtype of the recipe",
    "use_mps_device": "nothing: it is chosen automatically",
    "overwrite_output_dir": "nothing: every run has a folder of its own",
    "logging_dir": "nothing: finetop stores the metrics",
    "tokenizer": "model.id of the recipe",
    "per_gpu_train_batch_size": "train.batch_size of the recipe",
}


def problems(
    raw: Mapping[str, Any], own: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with raw options: key, message, hint; `own` maps options to settings of the objective."""
    for name in raw:
        key = f"trainer_args.{name}"
        if setting := own.get(name) or ELSEWHERE.get(name):
            yield key, f"{key}: it is set in the recipe.", f"Remove it, and set {setting}."
        elif name in OURS:
            yield key, f"{key}: finetop sets it itself.", "Remove it."
        elif name in SEVERAL_GPUS:
            hint = "Remove it, and set budget.gpus, and train.parallel."
            yield key, f"{key}: finetop distributes training over GPUs itself.", hint
        elif name in UNSOUND:
            why, fix = UNSOUND[name]
            yield key, f"{key}: {why}", fix
        elif name in RENAMED:
            use = RENAMED[name]
            setting = use.removesuffix(OF_THE_RECIPE)
            hint = f"Use {use}." if setting == use else f"Remove it, and set {setting}."
            yield key, f"{key}: it was removed or renamed.", hint
