"""Whether a tuned model fits this base: names and shapes of the weights, from the files' headers only.

Of a GGUF file, llama.cpp reads the head: its layers, its width, its vocabulary.

PEFT skips weights that it does not find in the base, with a warning: a check would then compare the base with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.models.imports.inspect import CONFIGS, FolderModel, kind_of, read_json, require_weights
from finetop.core.models.llama_cpp.model import open_model
from finetop.core.models.safetensors_header import Shape, read_header, tensors
from finetop.core.text import plain

PREFIX = "base_model.model."  # PEFT's wrapper around the model
SHARED = ("base_model.vera_A", "base_model.vera_B")  # shared by all layers, so of no module
TOKENS = "prompt_embeddings"  # what prompt tuning and similar methods have instead of weights
TIED = ("lm_head", "embed_out")  # may share the embedding's weights, without any of their own
SAME = ("model_type", "hidden_size", "num_hidden_layers", "n_embd", "n_layer")
ASK_BASE = "Give the base that it was trained on: --base ID|FOLDER."


def require_fit(model: FolderModel, base: Path) -> int:
    """Refuse broken weights, or ones not trained on the base; return how many numbers they have. Raises BadInput."""
    require = {"adapter": _require_adapter, "full": _require_full, "gguf": _require_gguf}[model.kind]
    return require(model.folder, base)


def require_linked_fit(checkpoint: Path, base: Path) -> None:
    """Require that the model behind a link still fits the base: its folder may hold another by now. Raises BadInput."""
    folder = checkpoint.resolve()
    if checkpoint.is_symlink() and (kind := kind_of(folder)) is not None:
        model = FolderModel(0, folder, kind)
        require_weights(model)
        require_fit(model, base)


def _require_full(folder: Path, base: Path) -> int:
    own, known = (read_json(place / CONFIGS["full"]) for place in (folder, base))
    _require_same(own, known, folder, base)
    vocab_size, base_vocab_size = own.get("vocab_size"), known.get("vocab_size")
    if isinstance(vocab_size, int) and isinstance(base_vocab_size, int) and vocab_size < base_vocab_size:
        raise BadInput(
            f"{plain(str(folder))} has a vocabulary of {vocab_size:,}, but the base {plain(str(base))} has"
            f" {base_vocab_size:,}: it can't read the base's prompts.",
            hint=ASK_BASE,
        )
    return sum(shape.count for shape in tensors(folder).values())


def _require_gguf(file: Path, base: Path) -> int:
    with open_model(file, context=0) as model:
        facts = model.facts
    known = read_json(base / CONFIGS["full"])
    layers, width = facts.layers or None, facts.width or None
    own = {"num_hidden_layers": layers, "n_layer": layers, "hidden_size": width, "n_embd": width}
    _require_same(own, known.get("text_config", known), file, base)
    return sum(shape.count for shape in tensors(base).values())


def _require_same(own: Mapping[str, Any], known: Mapping[str, Any], place: Path, base: Path) -> None:
    """Require the facts of a configuration that training from the base leaves as they are. Raises BadInput."""
    for key in SAME:
        own_value, base_value = own.get(key), known.get(key)
        if None not in (own_value, base_value) and own_value != base_value:
            raise BadInput(
                f"{plain(str(place))} has {key} {own_value}, but the base {plain(str(base))} has {base_value}:"
                " it was not trained from it.",
                hint=f"{ASK_BASE} To compare unrelated models: `finetop diff` on their sample logs.",
            )


def _require_adapter(folder: Path, base: Path) -> int:
    added = read_header(folder / "adapter_model.safetensors")
    if not added:
        raise BadInput(f"{plain(str(folder))} holds no weights.", hint="Save the adapter again.")
    known = read_base(base, is_turned=bool(read_json(folder / CONFIGS["adapter"]).get("fan_in_fan_out")))
    if TOKENS in added:
        wrong = _misfit_tokens(folder, base, added[TOKENS])
        if wrong:
            message = f"{plain(str(folder))} is not an adapter for {plain(str(base))}: {wrong}."
            raise BadInput(message, hint=ASK_BASE)
        return added[TOKENS].count
    for name, shape in added.items():
        if name in SHARED:
            continue
        if wrong := misfit(known, name.removeprefix(PREFIX), shape):
            message = f"{plain(str(folder))} is not an adapter for {plain(str(base))}: {wrong}."
            raise BadInput(message, hint=ASK_BASE)
    return sum(shape.count for shape in added.values())


def _misfit_tokens(folder: Path, base: Path, added: Shape) -> str:
    """Return why virtual tokens [tokens, width] do not fit the base; empty if they do."""
    adapter, config = read_json(folder / CONFIGS["adapter"]), read_json(base / CONFIGS["full"])
    config = config.get("text_config", config)
    layers, wanted = adapter.get("num_layers"), config.get("num_hidden_layers")
    if None not in (layers, wanted) and layers != wanted:
        return f"it was made for {layers} layers, but the base has {wanted}"
    width = config.get("hidden_size")
    if adapter.get("peft_type") != "PREFIX_TUNING" and isinstance(width, int) and added.size[-1] != width:
        return f"its virtual tokens are {added.size[-1]:,} wide, but the base is {width:,} wide"
    return ""


@dataclass(frozen=True)
class Base:
    """A base model's modules by name, each with its weight's shape, as far as its files show them."""

    modules: Mapping[str, Shape]
    is_turned: bool  # weights are [inputs, outputs], as in GPT-2
    is_packed: bool  # weights are saved quantized, so in other shapes
    is_renamed: bool  # modules may have other names in memory: single experts, vision parts


def read_base(folder: Path, *, is_turned: bool) -> Base:
    """Read the headers and the configuration in a base model's folder. Raises BadInput."""
    shapes, config = tensors(folder), read_json(folder / CONFIGS["full"])
    return Base(
        modules={name.removesuffix(".weight"): shape for name, shape in shapes.items()},
        is_turned=is_turned,
        is_packed="quantization_config" in config,
        is_renamed="text_config" in config or any("experts" in name for name in shapes),
    )


def misfit(base: Base, name: str, added: Shape) -> str:
    """Return why an adapter's weight does not fit the base; empty if it does or can't be determined."""
    module, role = module_of(base, name)
    if module is None:
        if base.is_renamed or any(part in TIED for part in name.split(".")):
            return ""
        return f"there is no {plain(name.partition('.lora_')[0].removesuffix('.weight'))}"
    weight = base.modules[module]
    if base.is_packed or len(weight.size) != 2 or len(added.size) != 2:
        return ""
    outputs, inputs = reversed(weight.size) if base.is_turned else weight.size
    if role.startswith("lora_A") and added.size[1] != inputs:
        return f"{plain(module)} has {inputs:,} inputs, but the adapter's {added.size[1]:,}"
    if role.startswith("lora_B") and added.size[0] != outputs:
        return f"{plain(module)} has {outputs:,} outputs, but the adapter's {added.size[0]:,}"
    if role == "weight" and added.size != weight.size:
        return f"{plain(module)} is {_by(weight)}, but the adapter's {_by(added)}"
    return ""


def module_of(base: Base, name: str) -> tuple[str | None, str]:
    """Return the module that a weight belongs to, and its role there: lora_A.weight, ia3_l, weight …

    Some bases are saved without their wrapper's name: GPT-2's `h.0.attn` is `transformer.h.0.attn` in memory.
    """
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        for module in (".".join(parts[:cut]), ".".join(parts[1:cut])):
            if module in base.modules:
                return module, ".".join(parts[cut:])
    return None, ""


def _by(shape: Shape) -> str:
    return " x ".join(f"{length:,}" for length in shape.size)
