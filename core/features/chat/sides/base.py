"""The base of a run: inside an adapter's model if one is in memory, else loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.features.chat.sides import Opening, SideKind, Writer
from finetop.core.features.chat.sides.checkpoint import InMemory, ModelWriter
from finetop.core.models import load, resolve
from finetop.core.models.devices import scoring_dtype
from finetop.core.protocol.events import Phase

if TYPE_CHECKING:
    from finetop.core.features.chat.transcript import Side


class Base(SideKind):
    about = "the model that a run started from"
    needs_model = True
    opens_last = True

    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        recipe = resolve.recipe_of(opening.home.root / side.place.folder)
        base = resolve.resolve_model(recipe.model, opening.home, opening.events)
        dtype = scoring_dtype(recipe.model.dtype, base.path, opening.device)
        shared = next((held for held in opening.models if held.is_of(base, dtype)), None)
        if shared is None:
            opening.events.write(Phase(f"loading {side.side.label}"))
            model: Any = load.load_model(base, load.torch_dtype(dtype, opening.device), opening.device)[0]
            shared = InMemory(model.eval(), base, dtype, True)
            opening.models.append(shared)
        return ModelWriter(shared.model, load.load_tokenizer(base), opening.device, True)


PLUGIN = Base()
