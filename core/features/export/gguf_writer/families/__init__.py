"""Families of models that are written as GGUF: a file for each that has a rule of its own, a row for the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer import rope
from finetop.core.features.export.gguf_writer.refusal import unwritable
from finetop.core.plugins import Plugin, PluginKind

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter
    from torch import Tensor

GELU_TANH = ("gelu_new", "gelu_pytorch_tanh")


class Family(Plugin):
    """What one family is called by transformers and by llama.cpp, and how its tensors and sizes are stored."""

    architectures: tuple[str, ...]  # classes, as in config.json
    written_as: str  # llama.cpp's name
    activations: tuple[str, ...] = ("silu",)  # what llama.cpp computes
    permuted = False  # rows of q and k: from halves to the pairs that llama.cpp rotates
    norm_plus_one = False  # the norm multiplies by 1 + weight: that is stored
    keeps_windows = False  # llama.cpp computes its sliding windows
    transposed: re.Pattern[str] | None = None  # names of weights that are stored (in, out)
    left_out: re.Pattern[str] | None = None  # names of buffers that are no weights

    def describe(self, writer: GGUFWriter, config: Any) -> None:
        """Write the sizes and constants that llama.cpp reads. Raises BadInput for what it has no key for."""
        activation = getattr(config, "hidden_activation", None) or config.hidden_act
        if activation not in self.activations:
            raise unwritable(f"activation {activation}, where llama.cpp computes {self.activations[0]}")
        head = head_size(config)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_context_length(self.context(config))
        writer.add_embedding_length(config.hidden_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(head)
        writer.add_value_length(head)
        self.norm(writer, config)
        rope.describe(writer, config, head)
        self.more(writer, config)

    def norm(self, writer: GGUFWriter, config: Any) -> None:
        """Write the constant of its norms."""
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)

    def more(self, writer: GGUFWriter, config: Any) -> None:
        """Write what only this family has."""

    def context(self, config: Any) -> int:
        """Return the longest context to promise: where llama.cpp ignores a sliding window, no longer than that."""
        window = getattr(config, "sliding_window", None)
        if window and not self.keeps_windows and getattr(config, "use_sliding_window", True):
            return int(min(window, config.max_position_embeddings))
        return int(config.max_position_embeddings)

    def window(self, config: Any) -> int:
        """Return the sliding window that the proof must look beyond; 0 if there is none."""
        return int(config.sliding_window or 0) if self.keeps_windows else 0

    def more_tensors(self, config: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Yield tensors that llama.cpp reads and the folder has not."""
        yield from rope.tensors(config, head_size(config))

    def stored(self, name: str, tensor: Tensor, config: Any) -> Tensor:
        """Return a weight of this transformers name as llama.cpp wants it."""
        if self.transposed and self.transposed.search(name):
            tensor = tensor.T
        if self.norm_plus_one and name.endswith("norm.weight"):
            tensor = tensor + 1.0
        if self.permuted and (part := re.search(r"\.([qk])_proj\.(weight|bias)$", name)):
            heads = config.num_attention_heads if part[1] == "q" else config.num_key_value_heads
            tensor = paired(tensor, heads)
        return tensor

    @property
    def rounds_activations(self) -> bool:
        """Return whether llama.cpp takes its activation from a float16 table, which costs 1e-3 nats."""
        return any("gelu" in activation for activation in self.activations)


KIND: PluginKind[Family] = PluginKind(
    "family of GGUF files", __name__, "_", table=f"{__name__}._table", base=Family
)


def family_of(config: Any) -> Family:
    """Return the family of a model's configuration. Raises BadInput for one that isn't written."""
    architecture = (config.architectures or ["an unnamed architecture"])[0]
    for name in KIND.names():
        if architecture in (family := KIND.load(name)).architectures:
            return family
    raise unwritable(f"{architecture} is none of {', '.join(KIND.names())}")


def head_size(config: Any) -> int:
    """Return the width of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def paired(tensor: Tensor, heads: int) -> Tensor:
    """Reorder each head's rows from (first half, second half) to pairs (i, i + half)."""
    return tensor.view(heads, 2, -1, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)


def write_windows(writer: GGUFWriter, config: Any) -> None:
    """Write window and period; every period-th layer must see everything, the only pattern that llama.cpp has."""
    writer.add_sliding_window(config.sliding_window)
    full = [layer for layer, kind in enumerate(config.layer_types) if kind == "full_attention"]
    period = full[0] + 1 if full else 0
    if full != [layer for layer in range(config.num_hidden_layers) if period and (layer + 1) % period == 0]:
        raise unwritable(f"full attention in layers {full}, which has no fixed period")
    writer.add_sliding_window_pattern(period)


def require_scale(config: Any, big_layers: int) -> None:
    """Check the scale of queries: llama.cpp derives it from head size and number of layers. Raises BadInput."""
    big = config.num_hidden_layers == big_layers
    computed = config.hidden_size // config.num_attention_heads if big else config.head_dim
    if config.query_pre_attn_scalar != computed:
        raise unwritable(
            f"query_pre_attn_scalar {config.query_pre_attn_scalar}, where llama.cpp computes {computed}"
        )
