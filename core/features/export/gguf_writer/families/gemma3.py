"""Gemma 3 (text): five of six layers see only a window, with a rotary base of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import GELU_TANH, Family, require_scale, write_windows
from finetop.core.features.export.gguf_writer.refusal import unwritable

if TYPE_CHECKING:
    from gguf import GGUFWriter


class Gemma3(Family):
    about = "Gemma 3, text"
    architectures = ("Gemma3ForCausalLM",)
    written_as = "gemma3"
    activations = GELU_TANH
    norm_plus_one = True
    keeps_windows = True

    def more(self, writer: GGUFWriter, config: Any) -> None:
        require_scale(config, big_layers=62)
        if getattr(config, "use_bidirectional_attention", False):
            raise unwritable("bidirectional attention")
        if config.attn_logit_softcapping:
            raise unwritable("Gemma 3 with a soft cap of attention")
        if config.final_logit_softcapping:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)
        write_windows(writer, config)


PLUGIN = Gemma3()
