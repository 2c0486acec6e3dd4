"""What rehearsals told of models and methods, kept in the home: for plans, whose processes have no torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.models.config_file import LARGEST_FILE
from finetop.core.models.resolved import Moving
from finetop.core.models.shape import Shape
from finetop.core.runtime.files import read_given, write_whole
from finetop.core.runtime.job_process import versions

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.home import Home

CORE = Path(__file__).parents[1]
MOST = 200  # answers; the oldest is forgotten first
# Whose code gives the answers: a checkout's changes without a new version.
CODE = ("models/*.py", "train/methods/*.py", "train/objectives/*.py", "train/rehearsal.py")
PACKAGES = ("finetop", "torch", "transformers", "peft", "trl", "bitsandbytes", "liger-kernel", "triton")


def key_of(config: Path, *asked: Any) -> str:
    """Hash a config.json with what else an answer depends on, and the packages and the code that give it."""
    whole = hashlib.sha256(msgspec.json.encode([asked, versions(PACKAGES), code_hash(CORE)]))
    whole.update(read_given(config, LARGEST_FILE))
    return whole.hexdigest()


@lru_cache(maxsize=1)
def code_hash(core: Path) -> str:
    """Hash the files below finetop's core that compute an answer."""
    whole = hashlib.sha256()
    for file in sorted(file for pattern in CODE for file in core.glob(pattern)):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def kept(home: Home, key: str) -> Moving | None:
    """Return the answer that is kept under a key."""
    return _read(home).get(key)


def keep(home: Home, key: str, moving: Moving) -> None:
    """Keep an answer, where the home is made and has room."""
    answers = _read(home)
    if answers.get(key) == moving or not home.models.is_dir():
        return
    newest = list({**answers, key: moving}.items())[-MOST:]
    try:
        write_whole(_file(home), msgspec.json.encode(dict(newest)))
    except OSError:
        pass  # a full disk: the next one asks again


def shape_of(recipe: Recipe, config: Path, home: Home) -> Shape | None:
    """Return the shape of a recipe's model, where it was built before from this config.json."""
    moving = None if recipe.model.trust_remote_code else kept(home, _shape_key(recipe, config))
    return None if moving is None else moving.shape


def keep_shape(recipe: Recipe, config: Path, home: Home, shape: Shape | None) -> None:
    """Keep the shape of a recipe's model, unless code decides it that comes with the model."""
    if shape is not None and not recipe.model.trust_remote_code:
        keep(home, _shape_key(recipe, config), Moving(shape=shape))


def _shape_key(recipe: Recipe, config: Path) -> str:
    return key_of(config, sizes(recipe))


def sizes(recipe: Recipe) -> Any:
    """Return the sizes in which an objective makes a new model; None where it is as its config.json says."""
    return recipe.objective.options if recipe.objective.name == "pretrain" else None


def _file(home: Home) -> Path:
    return home.models / ".rehearsals.json"


def _read(home: Home) -> dict[str, Moving]:
    try:
        return msgspec.json.decode(read_given(_file(home)), type=dict[str, Moving])
    except (OSError, FinetopError, msgspec.DecodeError):
        return {}
