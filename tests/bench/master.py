"""Which weights change in full tuning, by how they are held (train.master): in one step, and the effect on the loss.

    python tests/bench/master.py --model FOLDER [--steps 24] [--rate 2e-5] [--page docs/gpu.md]

A real small model, such as HOME/models/smollm2-135m-instruct of `finetop demo`. Arithmetic is in float32 in every arm,
so that only the weights' format differs: float32; bfloat16 rounded stochastically; bfloat16 rounded to nearest. The
same rows in the same order. --page puts the table into a page, after <!-- master -->.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bench

ARMS = ("nearest", "stochastic", "float32")
MARK, END = "<!-- master -->", "\n\nAn adapter is"
ROWS, TOKENS = 2, 48
TEXT = "Arr, {n} be the number of me ship, and {m} be the barrels o' rum that she carries across the seven seas, matey!"


def batches(tokenizer: Any, steps: int) -> list[Any]:
    import torch

    result = []
    for step in range(steps):
        texts = [TEXT.format(n=2 * step + row, m=7 * step + 3 * row) for row in range(ROWS)]
        ids = [tokenizer(text).input_ids[:TOKENS] for text in texts]
        least = min(map(len, ids))
        result.append(torch.tensor([row[:least] for row in ids]))
    return result


def train(folder: Path, arm: str, steps: int, rate: float) -> tuple[list[float], float]:
    """Return the loss before each step, and the share of projection weights that the second step changed."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from finetop.core.train.stochastic_adamw import StochasticAdamW

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float()
    names = [name for name, _ in model.named_parameters()]
    weights = list(model.parameters())
    held = weights if arm == "float32" else [torch.nn.Parameter(w.detach().bfloat16()) for w in weights]
    kind: Any = StochasticAdamW if arm == "stochastic" else torch.optim.AdamW
    optimizer = kind(held, lr=rate, weight_decay=0.0)
    losses, share = [], 0.0
    for step, ids in enumerate(batches(tokenizer, steps)):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        losses.append(float(loss.detach()))
        before = [weight.detach().clone() for weight in held] if step == 1 else []
        with torch.no_grad():
            for own, weight in zip(held, weights, strict=True):
                if own is not weight:
                    own.grad = weight.grad.bfloat16()
                    weight.grad = None
            optimizer.step()
            for own, weight in zip(held, weights, strict=True):
                if own is not weight:
                    weight.copy_(own)
        if before:
            of_projections = [place for place, name in enumerate(names) if "proj" in name]
            moved = sum(int((before[place] != held[place]).sum()) for place in of_projections)
            share = moved / sum(held[place].numel() for place in of_projections)
        optimizer.zero_grad(set_to_none=True)
        model.zero_grad(set_to_none=True)
    return losses, share


def main() -> int:
    given = bench.options(__doc__, model={"type": Path, "required": True}, steps=24, rate=2e-5, page=Path)
    marks = sorted({0, given.steps // 4, given.steps // 2, 3 * given.steps // 4, given.steps - 1})
    lines = [
        f"| held | weights that move in a step at {given.rate:g} | "
        + " | ".join(f"loss at {mark + 1}" for mark in marks)
        + " |",
        "|---|" + "--:|" * (len(marks) + 1),
    ]
    print("\n".join(lines), flush=True)
    for arm in ARMS:
        losses, share = train(given.model, arm, given.steps, given.rate)
        lines.append(
            f"| `{arm}` | {share:.1%} | " + " | ".join(f"{losses[mark]:.3f}" for mark in marks) + " |"
        )
        print(lines[-1], flush=True)
    bench.put_into(given.page, MARK, lines, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
