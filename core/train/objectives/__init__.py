"""What the weights learn from: one file an objective, found by listing this folder.

An objective module has
- `ABOUT` (one line) and `Options` (a frozen struct: the settings under `objective:` in a recipe),
- `ROWS`: the kinds of rows that it reads (finetop.core.data.formats), the one it likes best first,
- `METRICS`: what its trainer calls its own metrics, and what we call them,
- `examples(rows, options, tokenizer, max_tokens)`: of each row the examples made of it,
- `make_trainer(setup)`: a transformers Trainer, or what has its `train`, `model`, `state`, `args`, `train_dataset`.

and may have
- `limits(recipe)`: what it can't do, as (key, message, hint), found before anything is loaded,
- `load_model(options, base, tokenizer, dtype, device)`: another model than the causal one that the recipe names,
- `copies(options)`: how often each example counts in a step's batch, where a trainer repeats them,
- `WRITES = False`: the model it makes writes no text, so that nothing is sampled, probed or checked,
- `LOSS_FALLS = False`: its loss does not say how well it learns, and no alarm looks at it.

Heavy imports stay inside functions, so that listing objectives never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import listed_names, load_listed

if TYPE_CHECKING:
    from types import ModuleType


def names() -> tuple[str, ...]:
    """List the objectives there are, without importing them."""
    return listed_names(__name__)


def load(name: str) -> ModuleType:
    """Import one objective by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name, kind="objective")
