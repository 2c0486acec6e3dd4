"""Resolves a recipe's model: a folder, a run (an adapter's merged once, and kept), the demo model, or the hub's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.data.hub import is_local
from finetop.core.data.weight_files import adapter_hash, weights_hash
from finetop.core.errors import BadInput
from finetop.core.models.checkpoint import MERGED, checkpoint_of
from finetop.core.models.load import check_folder, read_template
from finetop.core.models.resolved import ResolvedModel
from finetop.core.recipe.references import is_reference
from finetop.core.runtime.files import given_path, read_own
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Model, Recipe
    from finetop.core.runtime.event_log import EventLog


def resolve_model(model: Model, home: Home, events: EventLog) -> ResolvedModel:
    """Resolve a recipe's model, downloading or converting if needed. Raises BadInput, EnvironmentTrouble."""
    from finetop.core.data import hub
    from finetop.core.models import demo_model

    if is_local(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a folder, it has no revisions.", hint="Remove it.")
        path, hub_id, revision, source = given_path(model.id), None, None, "local folder"
    elif is_reference(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a run, it has no revisions.", hint="Remove it.")
        path, source = whole_model(model.id, home, events)
        hub_id, revision = None, None
    elif model.id == demo_model.ALIAS:
        path, revision, source = demo_model.find(model.revision, home, events)
        hub_id = demo_model.HUB_ID if revision else None
    else:
        path, revision = hub.fetch(model.id, model.revision, model.trust_remote_code, events)
        hub_id, source = model.id, f"hub, commit {revision[:7]}"
    check_folder(path, model.id)
    return ResolvedModel(
        id=model.id,
        path=path,
        hub_id=hub_id,
        revision=revision,
        source=source,
        weights_hash=weights_hash(path, home),
        trust_remote_code=model.trust_remote_code,
        chat_template=read_template(model.chat_template),
        quantize=model.quantize,
    )


def recipe_of(run_folder: Path) -> Recipe:
    """Read the recipe that a run was made with. Raises BadInput if its folder is damaged."""
    from finetop.core.recipe.load import recipe_from_resolved

    try:
        facts = msgspec.json.decode(read_own(run_folder / "run.json"))
        return recipe_from_resolved(facts["recipe"], "run.json")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{run_folder}: its run.json can't be read.", hint="Pick another run.") from error


def whole_model(text: str, home: Home, events: EventLog) -> tuple[Path, str]:
    """Return the model of a run (`run:7@120`) as a folder with whole weights, and a text with its source.

    An adapter is merged into its base the first time, and kept in the home's models/merged.
    Raises NotFound, BadInput, EnvironmentTrouble, and FinetopError if it can't be merged.
    """
    from finetop.core.models import load

    folder = checkpoint_of(text, home)
    run_folder = folder.parent.parent
    source = f"run {run_folder.name}, step {int(folder.name.removeprefix('step-'))}"
    if load.is_reward_model(folder):
        hint = "Start from another run."
        raise BadInput(f"model.id: {text} is a reward model, which generates no text.", hint=hint)
    if not load.is_adapter(folder):
        return folder, source
    return _merged(folder, run_folder, home, events), f"{source}, merged"


def _merged(folder: Path, run_folder: Path, home: Home, events: EventLog) -> Path:
    from finetop.core.models import checkpoint, devices, load, merge, save
    from finetop.core.models.devices import free_memory
    from finetop.core.protocol.events import Phase

    recipe = recipe_of(run_folder)
    base = resolve_model(recipe.model, home, events)
    known = checkpoint.weights_hash_of(folder)
    if known not in (None, base.weights_hash):
        hint = "Restore the weights that it was trained from."
        raise BadInput(f"model.id: the weights of {run_folder.name}'s base have changed since.", hint=hint)
    device = devices.pick_device()
    dtype = devices.scoring_dtype(recipe.model.dtype, base.path, device)
    digest = adapter_hash(folder, home)
    parts = [base.weights_hash, digest, dtype, base.quantize]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    target = home.models / MERGED / key
    if target.is_dir():
        return target
    events.write(Phase("merging the model it starts from"))
    save.require_room(target, base.path, dtype)
    number_format = load.torch_dtype(dtype, device)
    model = merge.whole(base, folder, number_format, device)
    tokenizer = load.tokenizer_of(base, folder)
    facts = {"run": run_folder.name, "checkpoint": folder.name, "base": base.id}
    facts |= {"weights_hash": base.weights_hash, "adapter_hash": digest}
    with save.beside(target) as aside:
        save.write(model, tokenizer, facts, aside)
        save.put(aside, target)
    del model
    free_memory(device)
    return target
