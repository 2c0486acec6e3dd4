"""Llama 1 to 3 and what is built alike (SmolLM2, Falcon 3, Yi)."""

from finetop.core.models.gguf.families import Family


class Llama(Family):
    about = "Llama, SmolLM2, Falcon 3, Yi"
    architectures = ("LlamaForCausalLM",)
    written_as = "llama"
    permuted = True


PLUGIN = Llama()
