"""Phi 3 and 4 (mini): q, k and v in one matrix; longrope in the models with long contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import Family
from finetop.core.features.export.gguf_writer.rope import ORIGINAL

if TYPE_CHECKING:
    from gguf import GGUFWriter


class Phi3(Family):
    about = "Phi 3, Phi 4 mini"
    architectures = ("Phi3ForCausalLM",)
    written_as = "phi3"

    def more(self, writer: GGUFWriter, config: Any) -> None:
        writer.add_sliding_window(0)  # llama.cpp wants the key, and ignores the window: see Family.context
        original = config.rope_parameters.get(ORIGINAL) or config.max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)


PLUGIN = Phi3()
