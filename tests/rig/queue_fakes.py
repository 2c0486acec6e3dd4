"""A supervisor in memory with GPUs and a queue whose jobs can be moved, held and released, for tests of Queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from tui_fakes import NOW, FakeSupervisor, make_row

from finetop.core.protocol.messages import queue as messages
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.machine import GpuJob, GpuProcess, GpuRow, Gpus, GpusAnswer
from finetop.core.protocol.messages.queue import Hold, LiveRow, Move, Queue, QueueRow, Release
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.request import Ask, Order
from finetop.core.protocol.runs import Finished, Queued, Running, RunRow


def make_waiting(id_: int, run: str, because: str = "waits for the one job slot", **more: Any) -> QueueRow:
    """Return a waiting training job."""
    values: dict[str, Any] = {
        "what": "train",
        "step": None,
        "method": "lora",
        "wants": "",
        "priority": 10,
        **more,
    }
    state = Queued(id_, because, held=values.pop("held", False))
    return QueueRow(run_id=id_, run=run, state=state, **values)


def make_live(id_: int, run: str, on: str = "", **more: Any) -> LiveRow:
    """Return a running training job."""
    values = {"phase": "training", "done": 820, "total": 1200, "unit": "steps", "left_s": 960.0, **more}
    return LiveRow(id_, run, "train", Running(NOW - 800, **values), on)


def make_gpu(index: int, **more: Any) -> GpuRow:
    """Return an unused GPU."""
    facts: dict[str, Any] = {
        "index": index, "uuid": f"GPU-{index}", "name": "NVIDIA H100 80GB HBM3", "total_gib": 79.6, "ours_gib": 0.0,
        "others_gib": 0.0, "busy": 0, "celsius": 33, "watts": 70.0, "fault": "", "trouble": "", "left_out": "",
        "kept_for": "", "jobs": [], "others": [], "history": [0] * 30,
    }  # fmt: skip
    return GpuRow(**{**facts, **more})


def make_gpus(*rows: GpuRow, **more: Any) -> GpusAnswer:
    facts: dict[str, Any] = {
        "gpus": list(rows), "driver": "580.65.06", "cuda": "13.0", "trouble": "", "cores": 16, "cpu_jobs": 1,
        "on_cpu": [], "waiting": [], "column_s": 20.0, "age_s": 0.5,
    }  # fmt: skip
    return GpusAnswer(**{**facts, **more})


JOB = GpuJob(4, "support-r16", "train", 60.0, 51.2)
BUSY = make_gpus(
    make_gpu(0, ours_gib=51.2, busy=92, celsius=64, jobs=[JOB], history=[None, None, *range(40, 96, 2)]),
    make_gpu(1, ours_gib=48.0, busy=90, celsius=61, jobs=[JOB], history=[90] * 30),
    make_gpu(2, others_gib=74.0, busy=99, celsius=70, others=[GpuProcess(48213, "python", "ana", 74.0)]),
    make_gpu(3, kept_for="support-dpo"),
)
FAULTY = make_gpus(
    make_gpu(0, fault="lost", trouble="GPU is lost", busy=None),
    make_gpu(1, fault="failing", trouble="its memory is worn out"),
    make_gpu(2, left_out="left out by settings.yaml gpus.only"),
    make_gpu(3, others_gib=2.0),
)
WAITING = [
    make_waiting(
        1, "support-dpo", "wants 2 GPUs with 40 GiB, 1 is free", wants="2 x 40 GiB", starts_at=NOW + 960,
        after="support-r16",
    ),
    make_waiting(
        2, "smollm2-135m-instruct-support-lr2e-5-s2", "waits behind support-dpo, for which GPU 0, 3 is reserved",
        wants="22 GiB",
    ),
    make_waiting(3, "support-old", "waits for a free GPU", what="check", step=800, priority=0),
    make_waiting(4, "support-eval", "held", held=True, wants="9 GiB", do="finetop queue release support-eval"),
]  # fmt: skip
LIVE = [make_live(9, "support-r16", "GPU 0, 1")]


class QueueFake(FakeSupervisor):
    """Answers requests about its queue, and applies changes to it."""

    def __init__(
        self, live: list[LiveRow] = LIVE, waiting: list[QueueRow] = WAITING, gpus: GpusAnswer = BUSY
    ) -> None:
        super().__init__([])
        self.live, self.waiting, self.gpus, self.stopped = live, waiting, gpus, ""

    def orders(self) -> list[Ask]:
        """Return the requests so far that change something."""
        return [ask for ask in self.asked if isinstance(ask, Order)]

    async def ask(self, ask: Ask) -> Any:
        match ask:
            case Changes():
                answer = await super().ask(ask)
                gpus_taken = sum(bool(gpu.jobs) for gpu in self.gpus.gpus)
                counted = {"queued": len(self.waiting), "jobs": {"train": len(self.live)}}
                return replace(answer, gpus=len(self.gpus.gpus), gpus_taken=gpus_taken, **counted)
            case Queue() | Gpus() if self.is_gone:
                return await super().ask(ask)
            case Queue():
                running = [job.run for job in self.live]
                return messages.QueueAnswer(self.waiting, len(self.waiting), running, self.stopped, self.live)
            case Gpus():
                return self.gpus
            case GetRun():
                self.rows = [self._row(job) for job in (*self.live, *self.waiting)]
                return await super().ask(ask)
            case Move():
                self._move(ask)
            case Hold(run="") | Release(run=""):
                self.stopped = "the queue is held" if isinstance(ask, Hold) else ""
            case Hold() | Release():
                self._set(
                    ask.run, lambda row: replace(row, state=replace(row.state, held=isinstance(ask, Hold)))
                )
            case messages.Stop():
                self.waiting = [row for row in self.waiting if row.run != ask.run]
            case messages.Prioritise():
                self._set(ask.run, lambda row: replace(row, priority=ask.priority))
            case _:
                return await super().ask(ask)
        self.asked.append(ask)
        self.change()
        return Done(f"{getattr(ask, 'run', '') or 'the queue'} was told.")

    def _row(self, job: LiveRow | QueueRow) -> RunRow:
        """Return the run of a job; a run with a waiting check has ended."""
        if job.what == "check":
            return make_row(job.run_id, job.run, Finished(NOW - 900, NOW - 100), checking=job.state)
        return make_row(job.run_id, job.run, job.state, step=820 if isinstance(job, LiveRow) else 0)

    def _move(self, ask: Move) -> None:
        moving = next(row for row in self.waiting if row.run == ask.run)
        rest = [row for row in self.waiting if row is not moving]
        at = next((i for i, row in enumerate(rest) if row.run == ask.other), len(rest) * (ask.to == "last"))
        self.waiting = [
            replace(row, state=replace(row.state, place=place))
            for place, row in enumerate([*rest[:at], moving, *rest[at:]], 1)
        ]

    def _set(self, run: str, change: Callable[[QueueRow], QueueRow]) -> None:
        self.waiting = [change(row) if row.run == run else row for row in self.waiting]
