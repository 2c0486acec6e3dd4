"""How a model that can't be said exactly in a GGUF file is refused."""

from __future__ import annotations

from typing import NoReturn

from finetop.core.errors import BadInput

HINT = "Export it as safetensors (without --to gguf), which vLLM and transformers load."


def refuse(why: str, hint: str = HINT) -> NoReturn:
    """Raise BadInput: nothing is approximated."""
    raise BadInput(f"this model can't be written as a GGUF file: {why}.", hint=hint)
