"""Changes that make a run need less memory, cheapest first: slower with the same result, then with another result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from finetop.core.plugins import METHODS
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.recipe.parallel import of_ranks, way_of
from finetop.core.recipe.schema import Method, Recipe

SHORTEST = 128  # tokens; shorter rows are useless


@dataclass(frozen=True, slots=True)
class Change:
    """A changed recipe, with the change in words and as --set texts."""

    recipe: Recipe
    text: str = ""
    sets: tuple[str, ...] = ()

    def then(self, recipe: Recipe, text: str, *sets: str) -> Change:
        """Add one more change."""
        return Change(recipe, f"{self.text}, {text}" if self.text else text, (*self.sets, *sets))


def changes(recipe: Recipe, *, in_float16: bool = False) -> Iterator[Change]:
    """Yield changes in the order of their cost; each later one is tried alone, then with all cheaper ones.

    Smaller batches with more accumulation: the same steps, some time. Recomputed activations: a third more time. A base
    sharded over the GPUs: the same result, but each layer is fetched from the others. 16-bit weights, rounded
    stochastically: about the same; neither goes with float16. LoRA instead of all weights, 4-bit weights: other
    results. Shorter rows: other data.
    """
    start = Change(recipe)
    yield from _cheap(start)
    base = start
    for change in (*(() if in_float16 else (_divided, _stochastic)), _lora, _nf4):
        changed = change(base)
        if changed is not None:
            base = changed
            yield base
            yield from _cheap(base)
    tokens = recipe.data.max_tokens
    while tokens // 2 >= SHORTEST:
        tokens //= 2
        data = replace(base.recipe.data, max_tokens=tokens)
        text, setting = f"rows of at most {tokens} tokens", f"data.max_tokens={tokens}"
        shorter = base.then(replace(base.recipe, data=data), text, setting)
        yield shorter
        yield from _cheap(shorter)


def _cheap(start: Change) -> Iterator[Change]:
    """Yield smaller batches, recomputed activations, and both; first evaluation in batches no larger than a step's."""
    train = start.recipe.train
    if (train.eval_batch_size or 0) > train.batch_size:
        alike = replace(start.recipe, train=replace(train, eval_batch_size=None))
        text = f"evaluation in batches of {train.batch_size}"
        start = start.then(alike, text, "train.eval_batch_size=null")
        yield start
    smallest = None
    for change in _batches(start):
        yield change
        smallest = change
    again = _checkpointing(start)
    if again is None:
        return
    yield again
    if smallest is not None:
        both = _checkpointing(smallest)
        assert both is not None
        yield both


def _batches(start: Change) -> Iterator[Change]:
    train = start.recipe.train
    size, times = train.batch_size, 1
    while size % 2 == 0:
        size, times = size // 2, times * 2
        accumulation = train.grad_accumulation * times
        smaller = replace(train, batch_size=size, grad_accumulation=accumulation)
        text = f"batches of {size} with grad_accumulation {accumulation}"
        sets = (f"train.batch_size={size}", f"train.grad_accumulation={accumulation}")
        yield start.then(replace(start.recipe, train=smaller), text, *sets)


def _checkpointing(start: Change) -> Change | None:
    recipe = start.recipe
    if recipe.train.activation_checkpointing is not False:  # auto recomputes them where that is needed
        return None
    train = replace(recipe.train, activation_checkpointing=True)
    text, setting = "activations recomputed", "train.activation_checkpointing=true"
    return start.then(replace(recipe, train=train), text, setting)


def _divided(start: Change) -> Change | None:
    gpus, train = start.recipe.budget.gpus or 1, start.recipe.train
    divided = replace(start.recipe, train=replace(train, parallel="fsdp"))
    if way_of(start.recipe, gpus) != "ddp" or list(of_ranks(divided, gpus)):
        return None
    return start.then(divided, "weights sharded over the GPUs", "train.parallel=fsdp")


def _stochastic(start: Change) -> Change | None:
    train = start.recipe.train
    keeps_base = METHODS.load(start.recipe.method.name).keeps_base
    if keeps_base or train.master != "float32" or not OPTIMIZERS[train.optimizer].rounds:
        return None
    rounded = replace(start.recipe, train=replace(train, master="stochastic"))
    return start.then(rounded, "16-bit weights, rounded stochastically", "train.master=stochastic")


def _lora(start: Change) -> Change | None:
    if start.recipe.method.name not in ("full", "freeze"):
        return None
    method = Method(name="lora", options=METHODS.load("lora").options())
    changed = replace(start.recipe, method=method)
    return start.then(changed, "LoRA instead of full tuning", "method={name: lora}")


def _nf4(start: Change) -> Change | None:
    recipe = start.recipe
    if recipe.model.quantize == "nf4" or "nf4" not in METHODS.load(recipe.method.name).quantized:
        return None
    model = replace(recipe.model, quantize="nf4")
    return start.then(replace(recipe, model=model), "weights in 4 bits", "model.quantize=nf4")
