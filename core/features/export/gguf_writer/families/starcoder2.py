"""StarCoder 2: layer norms and biases, a feed-forward without a gate; llama.cpp ignores its sliding window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import GELU_TANH, Family

if TYPE_CHECKING:
    from gguf import GGUFWriter


class StarCoder2(Family):
    about = "StarCoder 2"
    architectures = ("Starcoder2ForCausalLM",)
    written_as = "starcoder2"
    activations = GELU_TANH

    def norm(self, writer: GGUFWriter, config: Any) -> None:
        writer.add_layer_norm_eps(config.norm_epsilon)


PLUGIN = StarCoder2()
