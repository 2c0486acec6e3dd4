"""Which weights move: a file a method, found by listing this folder, and a table where PEFT's class alone differs.

A method (a module, or a row of `_table.py`) has what `Method` lists, and may have two hooks more: `optimizer(model,
options, arguments)`, which gives a torch optimizer in place of the trainer's, and `callbacks(options)`, which gives
callbacks of transformers. Heavy imports stay inside functions, so that listing methods never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from finetop.core.errors import NotFound, did_you_mean
from finetop.core.plugins import listed_names, load_listed
from finetop.core.train.methods._start import Quantize, Start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import msgspec
    from transformers import PreTrainedModel


class Method(Protocol):
    """What a module of this folder, or a row of the table, offers."""

    @property
    def ABOUT(self) -> str:
        """One line: what moves, and what for."""

    @property
    def Options(self) -> type[msgspec.Struct]:
        """A frozen struct: the settings under `method:` in a recipe."""

    @property
    def QUANTIZED(self) -> tuple[Quantize, ...]:
        """Which of model.quantize it can train on."""

    @property
    def KEEPS_BASE(self) -> bool:
        """Whether the base is in memory still when the adapter is off; full and freeze have no adapter."""

    @property
    def MERGES(self) -> bool:
        """Whether what it learned can be added into the base's weights."""

    @property
    def REFUSES(self) -> Mapping[str, str]:
        """Settings of a recipe that it does not go with when they are on, by dotted key, and why."""

    def prepare(self, model: PreTrainedModel, options: Any, start: Start) -> Any:
        """Give the model with the right weights trainable. Raises BadInput for an option that does not fit it."""


def names() -> tuple[str, ...]:
    """List the methods there are: the files, without importing them, and the rows of the table."""
    from finetop.core.train.methods._table import ROWS

    return tuple(sorted({*listed_names(__name__), *ROWS}))


def load(name: str) -> Method:
    """Give one method by its name. Raises NotFound with a suggestion."""
    from finetop.core.train.methods._table import ROWS

    if name in ROWS:
        return ROWS[name]
    if name not in names():
        raise NotFound(f"there is no method {name[:60]!r}.", hint=did_you_mean(name[:60], names()))
    return cast("Method", load_listed(__name__, name, kind="method"))


def why_not_quantized(method: Method) -> str:
    """Say why a method can't train on every kind of quantised weights; nothing if it says nothing."""
    return str(getattr(method, "NOT_QUANTIZED", ""))


def merges(name: str, options: Any) -> bool:
    """Say if what a method with these options learns can be added into the base's weights. Raises NotFound."""
    method = load(name)
    of_options = getattr(method, "merges", None)
    return bool(of_options(options)) if of_options else method.MERGES


def optimizer(name: str, model: Any, options: Any, arguments: Any) -> Any:
    """Make the method's own optimizer from the trainer's arguments; None where the trainer's will do."""
    hook = getattr(load(name), "optimizer", None)
    return None if hook is None else hook(model, options, arguments)


def callbacks(name: str, options: Any) -> list[Any]:
    """Make the callbacks of transformers that a method needs around its steps."""
    hook = getattr(load(name), "callbacks", None)
    return [] if hook is None else list(hook(options))


def rehearse(name: str, options: Any, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Look at a base's shape, before its weights are loaded, for options that do not fit it. Raises BadInput.

    The model is built from its config.json without memory for its weights.
    """
    hook = getattr(load(name), "require", None)
    if hook is None:
        return
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        with torch.device("meta"):
            shape = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError):
        return  # loading says better what is wrong with a model
    hook(shape, options)
