"""Qwen 3, dense."""

from finetop.core.models.gguf.families import Family


class Qwen3(Family):
    about = "Qwen 3, dense"
    architectures = ("Qwen3ForCausalLM",)
    written_as = "qwen3"


PLUGIN = Qwen3()
