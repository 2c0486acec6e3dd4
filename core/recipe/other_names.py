"""What other programs call the settings of a recipe, and which setting is meant by a name that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.errors import did_you_mean, folded_name, near

if TYPE_CHECKING:
    from collections.abc import Iterable

# By the setting that is meant: short forms, and names of transformers, TRL, PEFT, Axolotl, LLaMA-Factory and Unsloth.
OTHER_NAMES = {
    "model.id": "model_id model_name model_name_or_path pretrained_model_name_or_path base base_model model_path",
    "model.dtype": "precision bf16 fp16 torch_dtype mixed_precision compute_type",
    "model.quantize": "quantization bits load_in_4bit load_in_8bit quantization_bit qlora",
    "model.attention": "attn attn_implementation flash_attention flash_attn use_flash_attention_2",
    "model.engine": "vllm use_vllm",
    "method.name": "adapter peft peft_type finetuning_type",
    "method.rank": "r lora_r lora_rank lora_dim",
    "method.alpha": "lora_alpha scaling",
    "method.dropout": "lora_dropout",
    "method.target_modules": "targets target modules lora_target lora_target_modules layers",
    "method.rslora": "use_rslora",
    "objective.packing": "sample_packing pack",
    "objective.neftune_alpha": "neftune neftune_noise_alpha",
    "data.train": "dataset datasets dataset_name train_file train_data train_dataset data_path train_path",
    "data.eval": "val validation eval_data eval_dataset val_set_size val_size validation_file eval_file",
    "data.max_tokens": "seq_len seq_length sequence_len sequence_length max_len max_length max_seq_len max_seq_length"
    " cutoff_len context context_length ctx",
    "train.learning_rate": "lr rate peak_lr max_lr",
    "train.batch_size": "bs batch micro_batch_size per_device_train_batch_size train_batch_size",
    "train.eval_batch_size": "eval_bs per_device_eval_batch_size",
    "train.grad_accumulation": "grad_acc grad_accum ga accum accumulation gradient_accumulation"
    " gradient_accumulation_steps",
    "train.epochs": "epoch num_epochs n_epochs num_train_epochs",
    "train.max_steps": "steps num_steps n_steps total_steps iters iterations max_iters",
    "train.schedule": "scheduler lr_scheduler lr_scheduler_type lr_schedule decay_schedule",
    "train.warmup_steps": "warmup warmup_ratio num_warmup_steps",
    "train.weight_decay": "wd decay",
    "train.optimizer": "optim opt",
    "train.max_grad_norm": "clip grad_clip clip_grad gradient_clipping max_norm clip_norm",
    "train.activation_checkpointing": "gradient_checkpointing grad_checkpointing checkpointing",
    "train.compile": "torch_compile",
    "train.kernels": "liger use_liger use_liger_kernel",
    "train.save_every": "save_steps save_interval checkpoint_every",
    "train.eval_every": "eval_steps eval_interval evals_per_epoch",
    "train.keep_checkpoints": "save_total_limit",
    "train.stop_early": "early_stopping early_stop patience early_stopping_patience",
    "train.seed": "random_seed random_state",
    "train.parallel": "fsdp deepspeed ddp strategy",
    "check.general.suite": "benchmark eval_suite",
    "check.general.margin": "tolerance threshold",
    "budget.gpus": "num_gpus n_gpus devices gpu",
    "budget.nodes": "num_nodes nnodes",
    "budget.hours": "max_hours time_limit",
}
_MEANT = {
    folded_name(other): key
    for key, others in OTHER_NAMES.items()
    for other in (key.rpartition(".")[2], *others.split())  # its own name, typed in another section, too
}

_MAIN = {
    "model": "model.id",
    "data": "data.train",
    "check": "check.general",
    "check.target": "check.target.path",
}


def hint_for(key: str, owner: str, known: Iterable[str]) -> str:
    """Suggest the setting that is meant by a key that is none: a slip, another program's name, one of elsewhere.

    `known` are the names beside it, of what `owner` is: a section, a method or an objective.
    """
    known = list(known)
    section, _, name = key.rpartition(".")
    folded = folded_name(name)
    meant = _MEANT.get(folded, "")
    above, _, last = meant.rpartition(".")
    if above == section and last in known:
        return f"Did you mean {last}?"
    if (near_by := near(name[:60], known)) and (folded_name(near_by) == folded or not meant):
        return f"Did you mean {near_by}?"
    if meant and (above != section or last in known):
        return f"Did you mean {meant}?"
    is_section = owner in ("", section)
    command = (
        f"finetop recipe {section.partition('[')[0]}".strip() if is_section else f"finetop methods {owner}"
    )
    return did_you_mean(name[:60], known, whole=command)


def hint_for_section(key: str) -> str:
    """Suggest the setting that is meant by a text in place of a whole section."""
    return f"Did you mean {_MAIN[key]}?" if key in _MAIN else ""
