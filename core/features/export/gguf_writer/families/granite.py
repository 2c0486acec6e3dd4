"""Granite 3 (dense): a Llama with scales of embedding, attention, residuals and logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import Family

if TYPE_CHECKING:
    from gguf import GGUFWriter


class Granite(Family):
    about = "Granite 3, dense"
    architectures = ("GraniteForCausalLM",)
    written_as = "granite"
    permuted = True

    def more(self, writer: GGUFWriter, config: Any) -> None:
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


PLUGIN = Granite()
