"""How a model that can't be said exactly in a GGUF file is refused."""

from __future__ import annotations

from finetop.core.errors import BadInput

HINT = "Export it as safetensors (without --to gguf), which vLLM and transformers load."


def unwritable(why: str) -> BadInput:
    """Return the error to raise: nothing is approximated."""
    return BadInput(f"this model can't be written as a GGUF file: {why}.", hint=HINT)
