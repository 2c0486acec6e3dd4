"""Retrain with the base's own answers mixed into the rows: see core/train/protections/replay.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.features.remedies.remedies import Retraining

ROWS, SHARE = 200, 0.2


class Replay(Retraining):
    about = "20 % replay from the base"

    def settings(self, recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
        replay = recipe.get("protect", {}).get("replay") or {}
        if replay.get("path") or replay.get("from_base"):
            return "it already replays: raise protect.replay.share"
        return {"protect.replay.from_base": ROWS, "protect.replay.share": SHARE}


PLUGIN = Replay()
