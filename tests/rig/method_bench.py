"""What a run does with a method on a tiny base model, for the tests of methods."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from finetop.core.models import checkpoint, load
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.train import methods
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TOKENS = torch.randint(6, 200, (2, 12), generator=torch.Generator().manual_seed(0))
# Settings that fit layers 64 wide; the rest keep each method's defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    "corda": {"rank": 4, "texts": 4}, "loftq": {"rank": 4}, "olora": {"rank": 4}, "oft": {"block_size": 16},
    "pissa": {"rank": 4}, "rslora": {"rank": 16}, "shira": {"rank": 4}, "vera": {"rank": 16},
    "prompt-tuning": {"tokens": 4}, "p-tuning": {"tokens": 4, "hidden": 16}, "prefix-tuning": {"tokens": 4},
}  # fmt: skip
GENERAL = torch.randint(6, 200, (8, 40), generator=torch.Generator().manual_seed(1)).tolist()


@dataclass
class Bench:
    """One base model, and the steps of a training job with a method on it."""

    base: ResolvedModel
    dtype: torch.dtype = torch.float32

    @cached_property
    def loaded(self) -> Any:
        return load.load_model(self.base, self.dtype, "cpu")[0].eval()

    @cached_property
    def logits(self) -> Tensor:
        return logits(self.load())

    def load(self) -> Any:
        return copy.deepcopy(self.loaded)

    def prepare(self, name: str, model: Any = None, **options: Any) -> Any:
        torch.manual_seed(0)
        method = methods.load(name)
        start = Start(
            seed=3,
            examples=GENERAL,
            general=lambda: GENERAL,
            quantize=self.base.quantize,
            base_path=self.base.path,
        )
        return method.prepare(model or self.load(), method.options(**options), start)

    def save(self, model: Any, folder: Path) -> str:
        folder.mkdir()
        kind = checkpoint._save(model, self.base, folder)
        load.load_tokenizer(self.base).save_pretrained(folder)
        return kind

    def reload(self, folder: Path) -> Any:
        return load_checkpoint(self.base, folder, self.dtype, "cpu")[0].eval()


def base_of(folder: Path) -> ResolvedModel:
    return ResolvedModel(str(folder), folder, None, None, "local folder", "0" * 64)


def disturb(model: Any, size: float = 0.05, seed: int = 1) -> None:
    """Move all trained weights at random."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(size * torch.randn_like(weight))


def logits(model: Any) -> Tensor:
    """Return the logits of the tokens in evaluation mode; learned tokens before them are left out."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        read = model(input_ids=TOKENS).logits[:, -TOKENS.shape[1] :]
    model.train(was_training)
    return read


def train(model: Any, steps: int = 2, rate: float = 1e-2) -> list[float]:
    """Take some steps of AdamW on the tokens, after an evaluation pass, as a run's samples need."""
    logits(model)
    model.train()
    moving = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=rate, weight_decay=0.1)
    losses = []
    for _ in range(steps):
        loss = model(input_ids=TOKENS, labels=TOKENS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
