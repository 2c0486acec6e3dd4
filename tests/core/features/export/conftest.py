"""Orders to export a checkpoint of the tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from export_bench import make_checkpoint, recipe_of, wanted_of

from finetop.core.check.tasks.suite import general_text
from finetop.core.features.export.export import ExportRequest
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

Ordered = Callable[..., tuple[ExportRequest, str | None]]


@pytest.fixture
def ordered(tmp_path: Path, tiny_model: Path, home: Home, events: EventLog) -> Ordered:
    """Return a function that writes a checkpoint, and returns the order to export it and the text to compare on."""

    def make(
        more: dict[str, Any] | None = None, **sections: dict[str, Any]
    ) -> tuple[ExportRequest, str | None]:
        recipe = recipe_of(tiny_model, **sections)
        folder = make_checkpoint(tmp_path, recipe, home, events)
        return replace(wanted_of(tmp_path, recipe, folder), **more or {}), general_text(recipe, home)

    return make
