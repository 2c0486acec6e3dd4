"""Mistral 7B, Nemo, Small (text): a Llama to llama.cpp, which ignores a sliding window."""

from finetop.core.models.gguf.families import Family


class Mistral(Family):
    about = "Mistral"
    architectures = ("MistralForCausalLM",)
    written_as = "llama"
    permuted = True


PLUGIN = Mistral()
