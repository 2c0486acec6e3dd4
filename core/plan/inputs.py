"""What a plan needs beside a recipe: the model's config.json if it is on this machine, and earlier runs' speeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetop.core.data.hub import is_local
from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import demo_model
from finetop.core.plan.shape import read_config
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Model


NOT_YET = "the demo model is downloaded by the first run: tokens are estimated from characters until then."


class ConfigFile(NamedTuple):
    """A model's config and its file; the tokenizer may be in the same folder."""

    config: dict[str, Any]
    file: Path
    is_here: bool = True  # False: finetop knows the config, but the model is not on this machine yet

    @property
    def note(self) -> str:
        """Return a note for the plan about the config."""
        return "" if self.is_here else NOT_YET

    @property
    def folder(self) -> Path:
        return self.file.parent


def find_config(model: Model, home: Home, given: str | None = None) -> ConfigFile:
    """Find the config.json of the model that a recipe names; `given` is its path, or its folder's.

    Nothing is downloaded. Raises BadInput for an invalid config, EnvironmentTrouble for a model that is not on this
    machine, except the demo model, whose config finetop has: `demo_model.is_here` checks for that model.
    """
    place = given_path(given) if given is not None else _place(model, home)
    if place is None and model.id == demo_model.ALIAS:
        file = demo_model.KNOWN / "config.json"
        return ConfigFile(read_config(file), file, is_here=False)
    if place is None:
        message = f"model.id: {model.id} is not on this machine; a plan downloads nothing."
        raise EnvironmentTrouble(message, hint="Give its config.json with --config PATH.")
    return ConfigFile(read_config(place), place / "config.json" if place.is_dir() else place)


def _place(model: Model, home: Home) -> Path | None:
    if is_local(model.id):
        return given_path(model.id)
    if model.id == demo_model.ALIAS:
        converted = home.models / demo_model.ALIAS
        if model.revision is None and converted.is_dir():
            return converted
        return _cached(demo_model.HUB_ID, model.revision)
    return _cached(model.id, model.revision)


def _cached(model_id: str, revision: str | None) -> Path | None:
    """Find the config.json of a model in the hub's cache; its weights need not be there."""
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(model_id, "config.json", revision=revision)
    except errors.HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
