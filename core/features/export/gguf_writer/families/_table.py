"""Families of which only names differ from the plain case: one row each."""

from __future__ import annotations

from finetop.core.features.export.gguf_writer.families import Family


class Plain(Family):
    """A family without a rule of its own."""

    def __init__(self, about: str, architecture: str, written_as: str, *, permuted: bool = False) -> None:
        self.about, self.architectures, self.written_as = about, (architecture,), written_as
        self.permuted = permuted


ROWS = {
    "llama": Plain("Llama, SmolLM2, Falcon 3, Yi", "LlamaForCausalLM", "llama", permuted=True),
    # A Llama to llama.cpp, which ignores a sliding window.
    "mistral": Plain("Mistral", "MistralForCausalLM", "llama", permuted=True),
    # Norms behind attention and feed-forward, and of whole queries and keys.
    "olmo2": Plain("OLMo 2", "Olmo2ForCausalLM", "olmo2"),
    "qwen2": Plain("Qwen 2 and 2.5", "Qwen2ForCausalLM", "qwen2"),
    "qwen3": Plain("Qwen 3, dense", "Qwen3ForCausalLM", "qwen3"),
}
