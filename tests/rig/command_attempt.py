"""A command's job without a supervisor, of which a process may be killed and another goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec
from metric_files import put, values_of

from finetop.core.external import client, reading
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.job import Job
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.stop_signal import Stop


class Attempt:
    """The folders of a job, its event log, and its reading, which has begun."""

    def __init__(
        self,
        home: Path,
        work: Path | None = None,
        words: tuple[str, ...] = ("python", "train.py"),
        *sets: str,
    ) -> None:
        self.work = work or home / "work"
        self.folder = home / "runs/0001-x/jobs/0001-command"
        self.metrics = self.folder / "metrics.jsonl"
        self.work.mkdir(exist_ok=True)
        self.folder.mkdir(parents=True)
        recipe = command_recipe(CommandRequest(words, self.work), sets).resolved
        spec = JobSpec(1, 1, 1, "x", "command", recipe)
        (self.folder / "job.json").write_bytes(msgspec.json.encode(spec))
        self.spec, self.log = spec, self.folder / "events.jsonl"
        self.reading = self.begin()

    def job(self) -> Job:
        return Job(self.spec, self.folder, EventLog(self.log), Stop())

    def begin(self) -> reading.Reading:
        environment = {"TRACKIO_DIR": str(self.work / "trackio"), client.METRICS: str(self.metrics)}
        return reading.begin(
            self.job(), attempt=1, goes_on=False, environment=environment, spent_before_s=100.0
        )

    def append(self, name: str, content: str | bytes) -> None:
        put((self.work if name != "log.txt" else self.folder) / name, content, adds=True)

    def finish(self) -> None:
        reading.finish(self.job())

    def seen(self) -> list[events.Event]:
        lines = [events.decode(line) for line in self.log.read_bytes().splitlines()]
        assert [line.n for line in lines] == list(range(1, len(lines) + 1))
        return [line.e for line in lines]

    def steps(self, key: str = "loss") -> list[int]:
        return [step for step, _ in values_of(self.seen(), key)]
