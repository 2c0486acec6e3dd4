"""A GGUF file, answered by llama.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.chat.sides import Opening, SideKind, Writer
from finetop.core.errors import EnvironmentTrouble

if TYPE_CHECKING:
    from finetop.core.chat.transcript import Side


class Gguf(SideKind):
    about = "a GGUF file"

    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        hint = "pip install 'finetop[gguf]'"
        raise EnvironmentTrouble(f"{side.side.label}: a GGUF file needs finetop[gguf].", hint=hint)


PLUGIN = Gguf()
