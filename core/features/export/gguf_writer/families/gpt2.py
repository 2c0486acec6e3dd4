"""GPT-2: learned positions, layer norms, weights stored (in, out)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import GELU_TANH, Family
from finetop.core.features.export.gguf_writer.refusal import unwritable

if TYPE_CHECKING:
    from gguf import GGUFWriter


class Gpt2(Family):
    about = "GPT-2"
    architectures = ("GPT2LMHeadModel",)
    written_as = "gpt2"
    activations = GELU_TANH
    transposed = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")
    left_out = re.compile(r"\.attn\.(masked_)?bias$")

    def describe(self, writer: GGUFWriter, config: Any) -> None:
        if config.activation_function not in self.activations:
            raise unwritable(f"GPT-2 with {config.activation_function}")
        if config.scale_attn_by_inverse_layer_idx or not config.scale_attn_weights:
            raise unwritable("GPT-2 with another scale of attention")
        writer.add_block_count(config.num_hidden_layers)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)

    def more_tensors(self, config: Any) -> Iterator[Any]:
        yield from ()


PLUGIN = Gpt2()
