"""A tiny model's training run in this process: its rows, its suite, its recipe, and what its events say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetop.core.protocol import events
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.stop_signal import Stop

TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. "
IN_SUITE = {"check": {"general": {"suite": "tiny"}}}


def chat(question: str, answer: str) -> dict[str, Any]:
    """Return a row of one question and its answer."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write_rows(file: Path, rows: Iterable[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write_suite(home: Path, times: int = 40) -> None:
    """Write the suite `tiny`: general text, and a task of one item."""
    suites = home / "suites"
    suites.mkdir(parents=True, exist_ok=True)
    (suites / "general.txt").write_text(TEXT * times)
    write_rows(suites / "items.jsonl", [{"id": "a", "question": "b", "answer": "c"}])
    task = "{name: t, data: items.jsonl, chance: 0.0}"
    (suites / "tiny.yaml").write_text(f"suite: 1\nname: tiny\ntext: general.txt\ntasks:\n  - {task}\n")


def recipe_text(model: Path, data: Path, *layers: dict[str, Any]) -> str:
    """Return a recipe of LoRA in float32 without samples, checks and drift, changed by each layer of sections.

    A section with a name replaces the one before; any other changes single settings.
    """
    whole: dict[str, Any] = {
        "recipe": 1,
        "name": "tiny",
        "model": {"id": str(model), "dtype": "float32"},
        "method": {"name": "lora"},
        "objective": {"name": "sft"},
        "data": {"train": [{"path": str(data)}], "max_tokens": 64},
        "train": {"epochs": None, "batch_size": 4, "grad_accumulation": 1},
        "samples": {"count": 0},
        "check": {"at_end": False, "general": None},
        "drift": {"every": None},
    }
    for layer in layers:
        for key, section in layer.items():
            changes = isinstance(section, dict) and "name" not in section
            whole[key] = {**whole.get(key, {}), **section} if changes else section
    return json.dumps(whole)


def recipe_of(model: Path, data: Path, *layers: dict[str, Any]) -> Any:
    return resolve_text(recipe_text(model, data, *layers)).recipe


def train(
    recipe: Any, job: Path, home: Home, run: Path | None = None, stop: Stop | None = None, point: Any = None
) -> tuple[events.Ended, list[Any]]:
    """Train a run, which is the job's folder by default. Return how it ended, and the job's events."""
    from finetop.core.train import train as training

    job.mkdir(parents=True, exist_ok=True)
    log = EventLog(job / "events.jsonl")
    try:
        ended = training.train(recipe, run or job, home, "cpu", log, stop or Stop(), point)
    finally:
        log.close()
    return ended, read_events(job)


def read_events(folder: Path, name: str = "events.jsonl") -> list[Any]:
    """Return a job's events: each line once, in order."""
    lines = [events.decode(line) for line in (folder / name).read_bytes().splitlines()]
    assert [line.n for line in lines] == list(range(1, len(lines) + 1))
    return [line.e for line in lines]


def of(kind: Any, happened: list[Any]) -> list[Any]:
    return [event for event in happened if isinstance(event, kind)]


def curve(key: str, happened: list[Any]) -> dict[int, float]:
    """Return a metric by step, each reported once."""
    values = [
        (event.step, event.values[key]) for event in of(events.Metrics, happened) if key in event.values
    ]
    assert len(values) == len({step for step, _ in values}), f"{key} is told twice"
    return dict(values)


@dataclass(frozen=True)
class Trained:
    """A run that was trained in this process: its recipe, its folder, how it ended, its events and its output."""

    recipe: Any
    folder: Path
    ended: events.Ended
    told: list[Any]
    log: str = ""

    def of(self, kind: Any) -> list[Any]:
        return of(kind, self.told)

    def curve(self, key: str) -> dict[int, float]:
        """Return a metric by step."""
        return curve(key, self.told)

    def values(self, key: str) -> list[float]:
        """Return a metric's values in order."""
        return list(self.curve(key).values())

    def weights(self) -> dict[str, Any]:
        """Return the weights of the last checkpoint."""
        from safetensors.torch import load_file

        return load_file(next(max(self.folder.glob("checkpoints/step-*")).glob("*model.safetensors")))
