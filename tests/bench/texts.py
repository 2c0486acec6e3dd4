"""Domain adaptation and training from scratch on real texts: does the loss of held-out texts fall?

    FINETOP_TEST_DATA=… python tests/bench/texts.py --model FOLDER [--steps 40] [--only domain|scratch] [--threads 2]

- domain: SmolLM2-135M-Instruct continues on medical_text (recipe continued-pretraining, at most 256 tokens per row),
  nats per token of the 103 held-out texts before and after
- scratch: a Llama of 3 million parameters with its own tokenizer trains on shakespeare (recipe pretrain)

Both run through the training job's own path, with the shipped recipes except for steps, batch and lengths.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import bench


def train(model: str, recipe: dict[str, Any], data: Path) -> None:
    """Train, and print the loss of the held-out texts before, during and after."""
    from finetop.core.protocol import events
    from finetop.core.recipe.load import resolve_text
    from finetop.core.runtime import event_log
    from finetop.core.runtime.home import Home
    from finetop.core.runtime.stop_signal import Stop
    from finetop.core.train import objectives, train as training

    folder = Path(tempfile.mkdtemp())
    whole = {
        "recipe": 1,
        "name": "texts",
        **recipe,
        "model": {"id": model},
        "check": {"at_end": False, "general": None},
    }
    whole["data"] = {
        **recipe["data"],
        "train": [{"path": str(data / "train.jsonl")}],
        "eval": [{"path": str(data / "valid.jsonl")}],
    }
    module = objectives.load(recipe["extends"])
    make = module.make_trainer

    def measured(setup: Any) -> Any:
        trainer = make(setup)
        print(f"before: {trainer.evaluate()['eval_loss']:.4f} nats a held-out token", flush=True)
        return trainer

    module.make_trainer = measured
    log = event_log.EventLog(folder / "events.jsonl")
    began = time.process_time()
    training.train(
        resolve_text(json.dumps(whole)).recipe, folder / "run", Home(folder / "home"), "cpu", log, Stop()
    )
    module.make_trainer = make
    points = bench.read_events(folder, events.Metrics)
    losses = [event.values["loss"] for event in points if "loss" in event.values]
    held = [(event.step, event.values["eval_loss"]) for event in points if "eval_loss" in event.values]
    print(f"training loss {losses[0]:.3f} -> {losses[-1]:.3f}; held out", *(f"{s}: {v:.4f}" for s, v in held))
    print(f"{time.process_time() - began:.0f} CPU s", flush=True)


def main() -> None:
    given = bench.options(
        __doc__, model={"required": True}, steps=40, threads=2, only={"choices": ("domain", "scratch")}
    )
    import torch

    torch.set_num_threads(given.threads)
    data = Path(os.environ["FINETOP_TEST_DATA"])
    train_settings = {"epochs": None, "max_steps": given.steps, "eval_every": 0.5, "save_every": 1.0}
    if given.only != "scratch":
        print(f"domain: {given.steps} steps of 4 x 256 tokens of medical_text")
        recipe = {
            "extends": "continued-pretraining",
            "data": {"max_tokens": 256},
            "train": {**train_settings, "batch_size": 4, "grad_accumulation": 1},
            "samples": {"count": 0},
        }
        train(given.model, recipe, data / "medical_text")
    if given.only != "domain":
        print(f"scratch: {3 * given.steps} steps of 16 x 128 tokens of shakespeare")
        recipe = {
            "extends": "pretrain",
            "data": {"max_tokens": 128},
            "train": {**train_settings, "max_steps": 3 * given.steps, "batch_size": 16},
        }
        train(given.model, recipe, data / "shakespeare")


if __name__ == "__main__":
    main()
