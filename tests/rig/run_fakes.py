"""One run in memory that answers the Run screen's requests; points are binned as in the store."""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
from functools import cache
from typing import Any

import msgspec
from tui_fakes import NOW, make_app, make_check, make_row, resolved

from finetop.core.errors import FinetopError, NotFound
from finetop.core.features.data_versions.messages import DataOf, DataOfAnswer, SourceFacts
from finetop.core.protocol import wire
from finetop.core.protocol.check_result import brief
from finetop.core.protocol.data_diff import Difference, Now, SourceRow
from finetop.core.protocol.messages import runs as messages
from finetop.core.protocol.messages.checks import Check, CheckAnswer, Checks, ChecksAnswer
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.session import Changes, ChangesAnswer, Hello, HelloAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import (
    CheckpointRow,
    DataRow,
    Failed,
    Finished,
    JobRow,
    RunDetail,
    Running,
    RunRow,
    SampleRow,
    State,
)
from finetop.core.runtime import log_file
from finetop.tui.app import FinetopApp
from finetop.tui.theme import Look

Points = dict[str, list[tuple[int, float | None]]]
RECIPE = "recipe: 1\nextends: lora\nname: support-r16\ndata: {train: [{path: 'builtin:demo/support_train.jsonl'}]}\n"
SUPPORT = "What are your opening hours?"


def points_until(step: int) -> Points:
    """Return the metrics of a run that learns and drifts, up to a step of 1200."""
    return {key: list(pairs) for key, pairs in _points(step).items()}


@cache
def _points(step: int) -> Points:
    noise = random.Random(7)
    points: Points = {key: [] for key in ("loss", "eval_loss", "drift", "kl", "grad_norm", "tokens_per_s")}
    points |= {"learning_rate": [], "memory_gib": [], "gpu_util": []}
    for at in range(1, step + 1):
        points["loss"].append((at, 1.15 + 1.75 * math.exp(-at / 130) + noise.gauss(0, 0.03)))
        points["grad_norm"].append((at, 0.41 + noise.gauss(0, 0.05)))
        points["tokens_per_s"].append((at, 4103.0 + noise.gauss(0, 60)))
        points["learning_rate"].append((at, 2e-4 * min(at / 40, 0.5 + 0.5 * math.cos(at / 1200 * math.pi))))
        points["memory_gib"].append((at, 38.2))
        points["gpu_util"].append((at, 91.0))
        if at % 300 == 0:
            points["eval_loss"].append((at, 1.25 + 1.7 * math.exp(-at / 130)))
    points |= {"tokens": [(step, 512.0 * step)], "epoch": [(step, step / 600)]}
    for at in range(0, step + 1, 60):
        points["drift"].append((at, 0.12 / (1 + math.exp(-(at - 600) / 160)) - 0.003))
        points["kl"].append((at, 0.2 * at / 1200))
    return points


@cache
def log_until(step: int) -> str:
    """Return a trainer's log up to a step."""
    noise = random.Random(3)
    lines = []
    for at in range(1, step + 1):
        loss, norm = 1.15 + 1.75 * math.exp(-at / 130) + noise.gauss(0, 0.03), 0.41 + noise.gauss(0, 0.05)
        pace = 4103 + noise.gauss(0, 60)
        words = f"loss {loss:.4g}, grad_norm {norm:.4g}, tokens_per_s {pace:.4g}, {1200 - at} s left"
        lines.append(f"step {at}/1200: {words}\n")
    return "".join(lines)


def make_result(verdict: str = "regressed", **more: Any) -> dict[str, Any]:
    """Return a check's full result in its wire format: 9.1 points lost over four tasks, one of them at chance."""
    at_chance = (
        "grammar: no verdict. The base model scores 0.262, within 3 standard errors of chance (0.250);"
    )
    at_chance += " a drop could not be seen."
    tasks = [
        _task("arith", "lost", 0.877, 0.657, (0.16, 0.28), 218, 50, 2),
        _task("knowledge", "lost", 0.98, 0.855, (0.07, 0.19), 100, 13, 0),
        _task("lambada", "open", 0.61, 0.58, (-0.02, 0.09), 94, 6, 3),
        _task("arc", "kept", 0.55, 0.552, (-0.06, 0.05), 180, 9, 9),
        {**_task("grammar", "unmeasurable", 0.262, None, None, 0, 0, 0), "reason": at_chance},
    ]
    kinds = [("carry", 40, 21, 0), ("two digits", 61, 21, 1), ("words", 57, 6, 1), ("times", 60, 2, 0)]
    flips = [
        _flip(
            "arith", f"a{at}", "carry", f"Q: What is {at} + {at + 8}?\nA:", str(2 * at + 8), str(2 * at + 8), "Ahoy",
        )
        for at in range(12)
    ]  # fmt: skip
    won = _flip("arith", "a99", "words", "Tom has 3 apples and 5 pears.", "8", "3", "8")
    flips.append({**won, "base": 0.0, "tuned": 1.0})
    values: dict[str, Any] = {
        "verdict": verdict, "decided_by": "betting", "margin": 0.03, "items_used": 412, "items_total": 3000,
        "reason": "9.1 points lost (limit 3.0), proven on 412 of 3,000 items: the suite's drop is the limit or more.",
        "base": 0.75, "tuned": 0.66, "drop": 0.091, "interval": (0.012, 0.169), "suite_interval": (0.052, 0.129),
        "proven_drop": True, "lost": 78, "won": 14, "tasks": tasks, "suite": "quick", "step": 1200,
        "target": {"exact_match": {"base": 0.71, "tuned": 0.91, "low": 0.12, "high": 0.28, "rows": 60}},
        "drift": {"base": 3.41, "tuned": 3.72, "tokens": 1530, "kl": 0.31}, "noise_floor": {"items": 128, "flips": 1},
        "categories": [{"task": "arith", "category": c, "n": n, "lost": lost, "won": won} for c, n, lost, won in kinds],
        "flips": flips, "seconds": 41.0, **more,
    }  # fmt: skip
    return values


def _task(
    task: str, mark: str, base: float, tuned: float | None, interval: Any, n: int, lost: int, won: int
) -> dict[str, Any]:
    drop = None if tuned is None else base - tuned
    numbers = {"n": n, "total": 600, "base": base, "tuned": tuned, "drop": drop, "interval": interval}
    return {"task": task, "mark": mark, **numbers, "lost": lost, "won": won}


def _flip(
    task: str, item: str, category: str, question: str, gold: str, base: str, tuned: str
) -> dict[str, Any]:
    answers = {"base": 1.0, "tuned": 0.0, "base_answer": base, "tuned_answer": tuned}
    return {"task": task, "item": item, "category": category, "question": question, "gold": gold, **answers}


def make_detail(state: State, step: int = 820, **more: Any) -> RunDetail:
    """Return a run of 1,200 steps, with samples, checkpoints and one training job."""
    points = points_until(step) if step else {}
    last = {key: pairs[-1][1] for key, pairs in points.items() if pairs}
    row_values = {"step": step, "metrics": last, "left_s": 380.0 if isinstance(state, Running) else None}
    row_values |= {key: more.pop(key) for key in list(more) if key in RunRow.__struct_fields__}
    row = make_row(4, row_values.pop("name", "support-r16"), state, **row_values)
    prompts = enumerate([SUPPORT, "Do you mend radios?"])
    values: dict[str, Any] = {
        "folder": "runs/0004-support-r16", "recipe": resolved(RECIPE), "recipe_source": RECIPE,
        "jobs": [JobRow(12, "train", state, 1, "jobs/0012-train", 0)],
        "checkpoints": [CheckpointRow(at, f"checkpoints/step-{at:06d}", 38_200_000, "adapter", NOW - 1200 + at)
                        for at in range(300, step + 1, 300)],
        "samples": [SampleRow(at, index, prompt, f"Answer {index} at step {at}: we open at nine, matey.")
                    for index, prompt in prompts for at in range(0, step + 1, 300)],
        "data": [DataRow("/data/faq.jsonl", 812, 809, 3, 0, 912, 31_000)],
        "first_row": [("<|user|>Where is my order?<|end|>\n<|assistant|>", False),
                      ("Ahoy! Your parcel sails today.<|end|>", True)],
        "alarms": [], "checks": [], "device": "cuda:0 NVIDIA H100 bfloat16",
        "versions": {"torch": "2.13.0", "trl": "1.16.0"},
        "planned": {"steps": 1200, "epochs": 2, "rows": 809, "tokens_per_epoch": 600 * 512,
                    "trainable_parameters": 4_884_480, "parameters": 139_000_000}, **more,
    }  # fmt: skip
    return RunDetail(row=row, **values)


def training(**more: Any) -> FakeRun:
    """Return a run at step 820 of 1200, with drift heading for the limit and a check at step 600."""
    state = Running(NOW - 800, "training", 820, 1200, "steps", 380.0)
    return FakeRun(make_detail(state, check=make_check("ok", 0.1, step=600), **more))


def other_program() -> FakeRun:
    """Return another program's run at step 160 of an unknown number."""
    state = Running(NOW - 800, "training", 160, None, "steps")
    facts = {"name": "loop", "model": "?", "method": "command", "objective": "command", "steps": 0}
    return FakeRun(make_detail(state, 160, left_s=None, planned={}, checkpoints=[], **facts))


def regressed(result: dict[str, Any] | None = None, **more: Any) -> FakeRun:
    """Return a finished run that forgot, or one whose check had this result."""
    result = result or make_result()
    short = brief(15, NOW - 2400, 1200, result)
    done = Finished(NOW - 5000, NOW - 2540)
    check = JobRow(15, "check", Finished(NOW - 2520, NOW - 2400), 1, "", 0)
    jobs = [JobRow(12, "train", done, 1, "jobs/0012-train", 0), check]
    detail = make_detail(done, 1200, check=short, checks=[short], jobs=jobs, needs_you=True, **more)
    return FakeRun(detail, checks=[{"check_id": 15, "at": NOW - 2400, **result}])


def failed(**more: Any) -> FakeRun:
    """Return a run that ran out of memory at step 41."""
    state = Failed(NOW - 300, "out of memory", "Lower train.batch_size (now 8) or train less.", NOW - 900, 1)
    fake = FakeRun(make_detail(state, 41, needs_you=True, **more))
    fake.log += (
        "Traceback (most recent call last):\n  File train.py\ntorch.OutOfMemoryError: CUDA out of memory.\n"
    )
    return fake


def make_source(number: int, rows: int, *, evil: str = "") -> SourceRow:
    """Return the source a run read: one of three versions of faq.jsonl."""
    path, content = f"/data/faq{evil}.jsonl", f"{number}f2a9c" + "0" * 58
    return SourceRow(
        path.rpartition("/")[2], path, "", "train", rows, content, written=NOW, number=number, newest=3
    )


def source_facts(row: SourceRow) -> SourceFacts:
    """Return the facts of a version: its difference from the previous one, and that its file has changed since."""
    if row.number == 1:
        return SourceFacts(row)
    difference = Difference(both=374, changed=38, new=row.rows - 412)
    now = Now("changed", 431, "3f2a9c")
    return SourceFacts(row, row.number - 1, "support-r8", difference, now, 3)


class FakeRun:
    """Answers for one run; `asked` holds every request except the waiting ones."""

    def __init__(self, detail: RunDetail, checks: list[dict[str, Any]] | None = None) -> None:
        self.detail = detail
        self.points = points_until(detail.row.step) if detail.row.step else {}
        self.log = log_until(detail.row.step)
        self.checks = checks or []
        self.revision = 1
        self.asked: list[Ask] = []
        self.processes = [
            messages.ProcessRow(4100, 12, "finetop.core.runtime.keeper 0012-train", "S", 0.2, 0.012, 1),
            messages.ProcessRow(4101, 12, "finetop.core.run_job 0012-train", "R", 790.5, 6.41, 38),
        ]
        self.part = 1 << 14  # bytes of the log searched at a time
        self.refuses: FinetopError | None = None
        self._changed = asyncio.Event()

    def become(self, other: FakeRun) -> None:
        """Answer as another run from now on."""
        self.detail, self.points, self.log, self.checks = other.detail, other.points, other.log, other.checks

    def change(self, detail: RunDetail | None = None) -> None:
        """Start a new revision of the store."""
        self.detail = self.detail if detail is None else detail
        self.revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def train_to(self, step: int) -> None:
        """Advance the run to a step."""
        self.points, self.log = points_until(step), log_until(step)
        last = {key: pairs[-1][1] for key, pairs in self.points.items() if pairs}
        state = Running(NOW - 800, "training", step, 1200, "steps", float(1200 - step))
        row = msgspec.structs.replace(
            self.detail.row, step=step, metrics=last, state=state, left_s=1200.0 - step
        )
        self.change(msgspec.structs.replace(self.detail, row=row))

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, Changes):
            while ask.since >= self.revision:
                await self._changed.wait()
            return ChangesAnswer(self.revision, jobs={"train": 1}, gpus=4, gpus_taken=2)
        self.asked.append(ask)
        if self.refuses is not None and not isinstance(ask, Hello):
            raise self.refuses
        match ask:
            case Hello():
                return HelloAnswer("0.1.0", wire.VERSION, 7, "/home", "gpu-box-3", NOW, "4 GPUs")
            case messages.Runs():
                return messages.RunsAnswer([self.detail.row], 1, 1, 0, {"train": 1}, 0, self.revision)
            case messages.GetRun():
                return self.detail
            case messages.Curves():
                return self._curves(ask)
            case messages.ReadLog():
                return self._log(ask)
            case messages.FindInLog():
                return self._found(ask)
            case messages.Processes():
                return messages.ProcessesAnswer(self.processes)
            case Checks():
                return ChecksAnswer(self.checks)
            case DataOf():
                return DataOfAnswer(ask.run, [source_facts(row) for row in self.detail.sources])
            case Check():
                return CheckAnswer(40, ask.run, ask.step or self.detail.row.step)
            case Stop() | Kill():
                return Done(f"{ask.run} is being ended.")
        raise NotFound(f"not in the fake: {ask}")

    def _curves(self, ask: messages.Curves) -> messages.CurvesAnswer:
        """Bin over steps, or over an axis that grows evenly: 512 tokens, 1 s and 1/600 epoch per step."""
        per_step = {"step": 1.0, "tokens": 512.0, "time": 1.0, "epoch": 1 / 600}[ask.x]
        first, last = round(ask.first / per_step), round(ask.last / per_step)
        by_step = msgspec.structs.replace(ask, first=first, last=last)
        curves = [_binned(key, pairs, by_step) for key, pairs in self.points.items() if key in ask.keys]
        if ask.x == "step":
            return messages.CurvesAnswer(curves)
        newest = self.detail.row.step
        steps = _binned("step", [(at, float(at)) for at in range(newest + 1)], by_step)
        return messages.CurvesAnswer(curves, steps, newest * per_step)

    def _found(self, ask: messages.FindInLog) -> messages.FoundInLog:
        """Search as the supervisor does, in parts of `part` bytes."""
        with tempfile.TemporaryFile() as file:
            file.write(self.log.encode())
            file.flush()
            if ask.step is not None:
                return messages.FoundInLog(*log_file.find_step(file.fileno(), ask.step))
            end = len(self.log.encode()) if ask.end < 0 else ask.end
            begin = max(0, end - self.part)
            return messages.FoundInLog(*log_file.find(file.fileno(), ask.text, begin, end, 5000))

    def _log(self, ask: messages.ReadLog) -> messages.LogAnswer:
        data = self.log.encode()
        start = max(0, len(data) + ask.offset) if ask.offset < 0 else min(ask.offset, len(data))
        piece = data[start : start + ask.limit]
        return messages.LogAnswer(
            ask.job or 12, piece.decode("utf-8", "replace"), start + len(piece), len(data)
        )

    def close(self) -> None:
        pass


def _binned(key: str, pairs: list[tuple[int, float | None]], ask: messages.Curves) -> messages.Curve:
    bins: dict[int, list[float]] = {}
    newest_steps: dict[int, int] = {}
    seen = [(step, value) for step, value in pairs if ask.first <= step <= ask.last]
    for step, value in seen:
        if value is not None:
            place = (step - int(ask.first)) * ask.columns // max(1, int(ask.last - ask.first))
            column = min(place, ask.columns - 1)
            bins.setdefault(column, []).append(value)
            newest_steps[column] = step
    columns = sorted(bins)
    bad = sum(value is None for _, value in seen)
    newest = seen[-1] if seen else (0, None)
    return messages.Curve(
        key, columns, [min(bins[column]) for column in columns], [max(bins[column]) for column in columns],
        [sum(bins[column]) / len(bins[column]) for column in columns], *newest, bad,
        [len(bins[column]) for column in columns], [newest_steps[column] for column in columns],
    )  # fmt: skip


def make_run_app(fake: FakeRun, look: Look | None = None) -> FinetopApp:
    """Return the app on one fake run, with a stopped clock."""
    return make_app(fake, start=lambda home: None, look=look)
