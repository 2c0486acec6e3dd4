"""A whole training run in this process, on a tiny model: what protections do in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.recipe.load import recipe_from_mapping, recipe_to_mapping, resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.runtime.stop_signal import Stop
from finetop.core.train import train as training
from finetop.core.train.resume.resume_point import ResumePoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. " * 120
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n}?"},
            {"role": "assistant", "content": f"{n * n}."},
        ]
    }
    for n in range(1, 25)
]


@dataclass(frozen=True)
class Run:
    """A run's events, and its last weights."""

    folder: Path
    told: list[Any]
    log: str

    def curve(self, key: str) -> dict[int, float]:
        told = [event for event in self.told if isinstance(event, events.Metrics)]
        return {event.step: event.values[key] for event in told if key in event.values}

    def weights(self) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(max(self.folder.glob("checkpoints/step-*")) / "model.safetensors")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    suites = tmp_path / "home" / "suites"
    suites.mkdir(parents=True)
    (suites / "general.txt").write_text(TEXT)
    (suites / "items.jsonl").write_text('{"id": "a", "question": "b", "answer": "c"}\n')
    task = "{name: t, data: items.jsonl, chance: 0.0}"
    (suites / "tiny.yaml").write_text(f"suite: 1\nname: tiny\ntext: general.txt\ntasks:\n  - {task}\n")
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return Home(tmp_path / "home")


@pytest.fixture
def recipe_of(home: Home, tiny_model: Path) -> Callable[..., Any]:
    """Return a function that makes a recipe: full tuning of the tiny model, 3 steps at a high rate."""

    def make(protect: dict[str, Any] | None = None, **sections: Any) -> Any:
        whole: dict[str, Any] = {
            "recipe": 1,
            "name": "tiny",
            "model": {"id": str(tiny_model), "dtype": "float32"},
            "method": {"name": "full"},
            "objective": {"name": "sft"},
            "data": {
                "train": [{"path": str(home.root.parent / "faq.jsonl")}],
                "max_tokens": 64,
                "eval": {"share": 0},
            },
            "train": {
                "epochs": None,
                "max_steps": 3,
                "batch_size": 4,
                "grad_accumulation": 2,
                "learning_rate": 5e-3,
                "warmup_steps": 0,
                "schedule": "constant",
            },
            "samples": {"count": 0},
            "check": {"at_end": False, "general": {"suite": "tiny"}},
            "drift": {"every": None},
            "protect": protect or {},
        }
        for name, section in sections.items():
            merges = name not in ("method", "objective") and isinstance(section, dict)
            whole[name] = {**whole[name], **section} if merges else section
        recipe = resolve_text(json.dumps(whole)).recipe
        assert recipe_from_mapping(recipe_to_mapping(recipe)) == recipe
        return recipe

    return make


@pytest.fixture
def train(home: Home, recipe_of: Callable[..., Any], capsys: Any) -> Callable[..., Run]:
    """Return a function that trains, or resumes such a run from a step, and returns its events."""
    count = iter(range(1, 100))

    def run(
        protect: dict[str, Any] | None = None, on_from: tuple[Run, int] | None = None, **sections: Any
    ) -> Run:
        recipe = recipe_of(protect, **sections)
        folder = home.root / "runs" / f"{next(count):04}-tiny"
        point = None
        if on_from is None:
            folder.mkdir(parents=True)
        else:
            shutil.copytree(on_from[0].folder, folder)
            (folder / "events.jsonl").unlink()
            point = ResumePoint(on_from[1], checkpoint.folder_of(folder, on_from[1]), folder)
        capsys.readouterr()
        log = event_log.EventLog(folder / "events.jsonl")
        assert training.train(recipe, folder, home, "cpu", log, Stop(), point) == events.Ended("finished")
        lines = (folder / "events.jsonl").read_bytes().splitlines()
        return Run(folder, [events.decode(line).e for line in lines], capsys.readouterr().out)

    return run
