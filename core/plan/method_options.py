"""What is trained of a model, as numbers; and how a method's options are read to count it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from finetop.core.models.shape import Linear, Shape


@dataclass(frozen=True, slots=True)
class Trained:
    """What is trained. Numbers are totals over the whole model."""

    numbers: int
    beside: int  # of these, how many are added to the model's own
    held: int = 0  # numbers of 4 bytes that are added and not trained: buffers, copies of a start
    wide: int = 0  # trained numbers whose states an 8-bit optimizer holds in 32 bits
    sums: int = 0  # numbers of 4 bytes that steps keep beside the optimizer's
    preparing: float = 0.0  # numbers of 4 bytes that exist only before the first step
    learning: frozenset[str] = frozenset()  # names of linear layers whose inputs a gradient needs
    adapted: tuple[Linear, ...] = ()  # linear layers with an adapter path
    inner: int = 0  # width of that path
    rebuilt: float = 0.0  # weights recomputed and kept in a forward pass, over the whole model
    scratch: float = 0.0  # temporary numbers while one layer is processed
    wide_copies: float = 0.0  # copies of a layer's input (inputs) that a path keeps beyond LoRA's
    output_copies: float = 0.0  # the same of a layer's output
    token_floats: float = 0.0  # numbers of 4 bytes per token that paths keep beside these, in all layers
    # arithmetic on weights alone in each forward and backward pass, whatever the batch's size
    batch_flops: float = 0.0
    depth: float = 1.0  # share of the layers, from the last, that a gradient passes through
    norms_move: bool = False
    head_moves: bool = False
    virtual_tokens: int = 0
    dropout: bool = False
    uncast: bool = False  # its paths read their layer's input as it is (core/train/lora_inputs.py)
    is_known: bool = True


def option_of(options: Any, *names: str, default: Any = None) -> Any:
    """Return a setting by any of its names, from a method's struct or PEFT's own settings."""
    for name in names:
        value = options.get(name) if isinstance(options, dict) else getattr(options, name, None)
        if value is not None:
            return value
    return default


def count_of(options: Any, *names: str, default: int) -> int:
    """Return a whole number among the settings; 0 for one that is switched off."""
    return int(option_of(options, *names, default=default) or 0)


def numbers_of_rank(rank: int, targets: tuple[Linear, ...]) -> int:
    """Count the numbers of two matrices of this rank at each layer."""
    return sum(rank * (linear.inputs + linear.outputs) * linear.count for linear in targets)


def widest(targets: tuple[Linear, ...]) -> int:
    """Return the weights of the largest layer."""
    return max((linear.inputs * linear.outputs for linear in targets), default=0)


def targets_of(
    shape: Shape, options: Any, default: Iterable[str] | Literal["all-linear"] = "all-linear"
) -> tuple[Linear, ...]:
    """Return the linear layers that a method targets: those in its options, else its default."""
    wanted = option_of(options, "target_modules", default=default)
    return shape.named(default if not wanted or wanted == "auto" else wanted)


def names_of(linears: Iterable[Linear]) -> frozenset[str]:
    """Return the names of linear layers."""
    return frozenset(linear.name for linear in linears)


def saved_modules(shape: Shape, options: Any) -> tuple[int, int, bool]:
    """Count modules trained whole, as copies, beside an adapter: all, in embeddings, and whether one is the head."""
    total = embedded = 0
    names = {name.rsplit(".", 1)[-1] for name in option_of(options, "modules_to_save", default=()) or ()}
    for name in names:
        if name in ("lm_head", "embed_out"):
            total += shape.output_weights
        elif name in ("embed_tokens", "wte", "word_embeddings", "embed_in"):
            total += shape.embeddings
            embedded += shape.embeddings
        else:
            total += sum(linear.parameters for linear in shape.named([name]))
    return total, embedded, bool(names & {"lm_head", "embed_out"})
