"""A model with learned tokens before each text is checked in rows of one text, even if the base's scores are packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from finetop.core.check import run_check
from finetop.core.check.scoring import drift
from finetop.core.models import checkpoint, load, resolve, resolved
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.train import methods
from finetop.core.train.methods import _start

if TYPE_CHECKING:
    from pathlib import Path

# PEFT uses an attribute that transformers renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning", "ignore::DeprecationWarning"
)


def save(recipe: Any, base: resolved.ResolvedModel, folder: Path) -> None:
    """Save a checkpoint whose weights are all slightly changed."""
    torch.manual_seed(0)
    model = load.load_model(base, torch.float32, "cpu")[0]
    tuned = methods.load(recipe.method.name).prepare(model, recipe.method.options, _start.Start())
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.02)
    folder.mkdir()
    checkpoint._save(tuned, base, folder)


@pytest.mark.slow
def test_a_prompt_tuned_checkpoint_is_scored(suite_folder, recipe_of, tmp_path):
    home = Home(suite_folder.parent)
    prepare(home)
    events = EventLog(tmp_path / "events.jsonl")
    results = {}
    for method in ("lora", "prompt-tuning"):  # the first caches the base's scores from packed rows
        recipe = recipe_of("tiny", method=method)
        base = resolve.resolve_model(recipe.model, home, events)
        save(recipe, base, tmp_path / method)
        results[method] = run_check.check(recipe, tmp_path / method, home, "cpu", events)
    events.close()
    layouts = {name: result.models["tuned"]["layout"] for name, result in results.items()}
    assert layouts == {"lora": "packed", "prompt-tuning": "plain"}
    assert results["lora"].drift.base == pytest.approx(results["prompt-tuning"].drift.base, abs=1e-4)
    tuned, tokenizer = load_checkpoint(base, tmp_path / "prompt-tuning", torch.float32, "cpu")
    windows = drift.windows_of((suite_folder / "text.txt").read_text(), tokenizer)
    nats = 0.0
    for window in windows:
        with torch.no_grad():
            read = tuned(input_ids=torch.tensor([window[:-1]])).logits[0, -len(window) + 1 :]
        nats += float(torch.nn.functional.cross_entropy(read, torch.tensor(window[1:]), reduction="sum"))
    wanted = nats / sum(len(window) - 1 for window in windows)
    assert results["prompt-tuning"].drift.tuned == pytest.approx(wanted, abs=1e-4)
    assert results["prompt-tuning"].drift.kl > 0
