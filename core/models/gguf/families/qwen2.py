"""Qwen 2 and 2.5."""

from finetop.core.models.gguf.families import Family


class Qwen2(Family):
    about = "Qwen 2 and 2.5"
    architectures = ("Qwen2ForCausalLM",)
    written_as = "qwen2"


PLUGIN = Qwen2()
