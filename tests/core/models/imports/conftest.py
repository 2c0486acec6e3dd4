"""A model made elsewhere: a Trainer's real output folder of a LoRA on the tiny model, with two checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def trainer_output(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return OUT with an adapter, checkpoint-2, checkpoint-4, optimizer states (pickles) and trainer_state.json."""
    import warnings

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        PrinterCallback,
        ProgressCallback,
        Trainer,
        TrainingArguments,
    )

    out = tmp_path_factory.mktemp("elsewhere") / "out"
    rows = [{"input_ids": list(range(6, 22)), "labels": list(range(6, 22))}] * 8
    arguments = TrainingArguments(
        str(out), max_steps=4, save_steps=2, eval_steps=2, eval_strategy="steps", logging_steps=1,
        learning_rate=1e-2, per_device_train_batch_size=2, use_cpu=True, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        lora = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"])
        trainer = Trainer(
            model=get_peft_model(model, lora), args=arguments, train_dataset=rows, eval_dataset=rows
        )
        for noisy in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(noisy)
        trainer.train()
        trainer.save_model()
        trainer.save_state()
    return out


@pytest.fixture
def out(trainer_output: Path, tmp_path: Path) -> Path:
    """Return a copy of the trainer's output that a test may damage."""
    folder = tmp_path / "out"
    shutil.copytree(trainer_output, folder)
    return folder


@pytest.fixture
def adapter(trainer_output: Path, tmp_path: Path) -> Path:
    """Return a single adapter's folder, without a trainer state."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(trainer_output / name, folder / name)
    return folder
