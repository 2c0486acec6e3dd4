"""Finds the model that a recipe names: a folder, a run, the demo model, or one of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.data.hub import is_local
from finetop.core.data.weight_files import weights_hash
from finetop.core.errors import BadInput
from finetop.core.models.load import check_folder, read_template
from finetop.core.models.resolved import ResolvedModel
from finetop.core.recipe.references import is_reference

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Model
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home


def resolve_model(model: Model, home: Home, events: EventLog) -> ResolvedModel:
    """Find the model that a recipe names, and download or convert it where that is needed.

    Raises BadInput if there is no such model or it can't be used, EnvironmentTrouble if the hub is out of
    reach.
    """
    from finetop.core.data import hub
    from finetop.core.models import demo_model, from_run

    if is_local(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a folder, it has no revisions.", hint="Remove it.")
        path, hub_id, revision, source = Path(model.id).expanduser(), None, None, "local folder"
    elif is_reference(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a run, it has no revisions.", hint="Remove it.")
        path, source = from_run.whole_model(model.id, home, events, resolve_model)
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
