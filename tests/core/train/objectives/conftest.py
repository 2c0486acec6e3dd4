"""Training in this process: the libraries are imported once for all objectives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetop.core.protocol import events
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home

TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. "


class Trained:
    """A trained run: its recipe, its folder, and its events."""

    def __init__(self, recipe: Any, folder: Path, ended: events.Ended) -> None:
        self.recipe, self.folder, self.ended = recipe, folder, ended
        self.told = [events.decode(line).e for line in (folder / "events.jsonl").read_bytes().splitlines()]

    def of(self, kind: Any) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def curve(self, key: str) -> list[float]:
        return [event.values[key] for event in self.of(events.Metrics) if key in event.values]


Train = Callable[..., Trained]


@pytest.fixture
def train(tmp_path: Path, tiny_model: Path) -> Train:
    """Train a tiny model on rows: `train(rows, objective={…}, method={…}, train={…})`."""

    def run(rows: list[dict[str, Any]], *, name: str = "tiny", **sections: Any) -> Trained:
        from finetop.core.runtime.stop_signal import Stop
        from finetop.core.train import train as training

        home = tmp_path / "home"
        folder = home / "runs" / name
        folder.mkdir(parents=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe: dict[str, Any] = {
            "recipe": 1,
            "name": name,
            "model": {"id": str(tiny_model), "dtype": "float32"},
            "method": {"name": "lora"},
            "objective": {"name": "sft"},
            "data": {"train": [{"path": str(tmp_path / f"{name}.jsonl")}], "max_tokens": 64},
            "train": {
                "epochs": None,
                "max_steps": 8,
                "batch_size": 4,
                "grad_accumulation": 1,
                "learning_rate": 0.01,
                "schedule": "constant",
                "eval_every": 1.0,
                "save_every": 1.0,
            },
            "samples": {"count": 1, "max_new_tokens": 4},
            "check": {"at_end": False, "general": None},
            "drift": {"every": None},
        }
        for key, section in sections.items():
            recipe[key] = section if key in ("method", "objective") else {**recipe.get(key, {}), **section}
        loaded = resolve_text(json.dumps(recipe)).recipe
        log = event_log.EventLog(folder / "events.jsonl")
        try:
            ended = training.train(loaded, folder, Home(home), "cpu", log, Stop())
        finally:
            log.close()
        return Trained(loaded, folder, ended)

    return run


@pytest.fixture
def texts() -> list[dict[str, str]]:
    return [{"text": f"{n}. {TEXT * 3}"} for n in range(12)]


@pytest.fixture
def pairs() -> list[dict[str, str]]:
    return [
        {"prompt": f"What is {n}?", "chosen": f"It is {n * n}.", "rejected": "Lamps and clocks."}
        for n in range(24)
    ]
