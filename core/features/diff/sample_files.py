"""Finds a sample log's files: samples_*.jsonl, the newest of several, and the results file beside it.

The harness writes MODEL/samples_TASK_DATE.jsonl and MODEL/results_DATE.json with one DATE for both (STEM_DATE
instead of results_DATE if it was given an output file), since 0.4.3.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput, NotFound
from finetop.core.text import plain

if TYPE_CHECKING:
    from pathlib import Path

MAX_RESULTS_BYTES = 256 * 2**20
_NAME = re.compile(
    r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(?:\.\d+)?))?\.jsonl", re.DOTALL
)


class SampleFile(msgspec.Struct, frozen=True):
    """One task's samples; `named` is True if the harness named the file: one without a date may have been renamed."""

    task: str
    date: str
    path: Path
    named: bool


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What the aggregated results record that the samples do not. Any of it may be missing."""

    versions: dict[str, Any] = {}
    shots: dict[str, Any] = msgspec.field(name="n-shot", default_factory=dict)
    higher_is_better: dict[str, Any] = {}
    results: dict[str, Any] = {}
    model_name: Any = None
    lm_eval_version: Any = None
    chat_template_sha: Any = None

    def version(self, task: str) -> str:
        """Return the task's version, or "" if it has none."""
        value = self.versions.get(task)
        if value is None or str(value) in ("", "N/A", "Yaml"):
            return ""
        try:
            return f"{float(value):g}"  # 1, 1.0 and "1" are one version
        except (TypeError, ValueError):
            return str(value)

    def num_fewshot(self, task: str) -> int | None:
        shots = self.shots.get(task)
        return shots if isinstance(shots, int) and not isinstance(shots, bool) else None

    def filters(self, task: str) -> tuple[str, ...]:
        """Return the task's filters in the order they ran: its results are named METRIC,FILTER."""
        scores = self.results.get(task)
        names = [key.partition(",")[2] for key in scores] if isinstance(scores, dict) else []
        return tuple(dict.fromkeys(name for name in names if name))

    def lower_is_better(self, task: str) -> frozenset[str]:
        known = self.higher_is_better.get(task)
        directions = known if isinstance(known, dict) else {}
        return frozenset(name for name, higher in directions.items() if higher is False)


def find_files(path: Path) -> tuple[tuple[SampleFile, ...], tuple[str, ...]]:
    """Return the newest sample file of each task of a file or folder, and notes. Raises NotFound, BadInput."""
    if path.is_dir():
        return _newest(path)
    if not path.exists():
        raise NotFound(f"{plain(str(path))}: there is no such file or folder.", hint="Give samples_*.jsonl.")
    if not path.is_file():
        raise BadInput(f"{plain(str(path))}: is not a file.", hint="Give samples_*.jsonl.")
    if path.suffix == ".json":
        hint = "Give samples_*.jsonl or its folder (the harness writes them with --log_samples)."
        raise BadInput(f"{plain(str(path))}: holds results, not samples.", hint=hint)
    return (_named(path),), ()


def read_results(sample: SampleFile) -> Results | None:
    """Read the results file of the same date; None if there is none. Raises ValueError if it is broken."""
    if not sample.date:
        return None
    candidates = sorted(sample.path.parent.glob(f"*_{sample.date}.json"))
    if not candidates or candidates[0].stat().st_size > MAX_RESULTS_BYTES:
        return None
    data = candidates[0].read_bytes()
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except msgspec.DecodeError:  # Python writes NaN, which is not JSON
        return msgspec.convert(json.loads(data), Results)


def _newest(folder: Path) -> tuple[tuple[SampleFile, ...], tuple[str, ...]]:
    by_task: dict[str, list[SampleFile]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        if path.is_file():
            sample_file = _named(path)
            by_task.setdefault(sample_file.task, []).append(sample_file)
    if not by_task:
        hint = "Run the harness with --log_samples --output_path, or give another folder."
        raise BadInput(f"{plain(str(folder))}: has no samples_*.jsonl in it.", hint=hint)
    notes = []
    chosen = []
    for task, files in sorted(by_task.items()):
        models = sorted({file.path.parent.name for file in files})
        if len(models) > 1:  # the newest file could be any model's
            logs = f"{plain(task)} has logs of {len(models)} models: {', '.join(models[:4])}"
            raise BadInput(f"{plain(str(folder))}: {logs}.", hint="Give the folder of one.")
        files.sort(key=lambda file: (file.date, str(file.path)))
        chosen.append(files[-1])
        if len(files) > 1:
            older = ", ".join(file.date or "one without a date" for file in files[:-1][-3:])
            older += " or older ones" if len(files) > 4 else ""
            notes.append(f"{task}: {len(files)} logs; the newest was read, {files[-1].date}, not {older}")
    models = sorted({file.path.parent.name for file in chosen})
    if len(models) > 1:
        notes.append(f"its tasks come from {len(models)} folders: {', '.join(models[:4])}")
    return tuple(chosen), tuple(notes)


def _named(path: Path) -> SampleFile:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return SampleFile(path.stem, "", path, False)
    return SampleFile(match["task"], match["date"] or "", path, match["date"] is not None)
