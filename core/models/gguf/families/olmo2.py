"""OLMo 2: norms behind attention and feed-forward, and of whole queries and keys."""

from finetop.core.models.gguf.families import Family


class Olmo2(Family):
    about = "OLMo 2"
    architectures = ("Olmo2ForCausalLM",)
    written_as = "olmo2"


PLUGIN = Olmo2()
