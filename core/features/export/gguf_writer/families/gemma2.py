"""Gemma 2: soft caps, and every second layer sees only a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import GELU_TANH, Family, require_scale, write_windows
from finetop.core.features.export.gguf_writer.refusal import unwritable

if TYPE_CHECKING:
    from gguf import GGUFWriter


class Gemma2(Family):
    about = "Gemma 2"
    architectures = ("Gemma2ForCausalLM",)
    written_as = "gemma2"
    activations = GELU_TANH
    norm_plus_one = True
    keeps_windows = True

    def more(self, writer: GGUFWriter, config: Any) -> None:
        require_scale(config, big_layers=46)
        if not config.attn_logit_softcapping or not config.final_logit_softcapping:
            raise unwritable("Gemma 2 without a soft cap")
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
        write_windows(writer, config)


PLUGIN = Gemma2()
