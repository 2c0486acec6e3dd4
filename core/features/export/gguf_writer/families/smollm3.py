"""SmolLM3: a Llama, of which every fourth layer has no rotary positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.families import Family
from finetop.core.features.export.gguf_writer.refusal import unwritable

if TYPE_CHECKING:
    from gguf import GGUFWriter

PERIOD = 4  # llama.cpp has no key for it


class SmolLm3(Family):
    about = "SmolLM3"
    architectures = ("SmolLM3ForCausalLM",)
    written_as = "smollm3"
    permuted = True

    def more(self, writer: GGUFWriter, config: Any) -> None:
        layers = range(1, config.num_hidden_layers + 1)
        if list(config.no_rope_layers) != [int(layer % PERIOD != 0) for layer in layers]:
            raise unwritable("other layers than every fourth have no rotary positions")
        if getattr(config, "use_sliding_window", False):
            raise unwritable("SmolLM3 with a sliding window")


PLUGIN = SmolLm3()
