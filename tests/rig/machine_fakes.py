"""Supervisors in memory behind links that can be down, for tests of the app with other machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tui_fakes import NOW, FakeSupervisor, make_row, mixed_rows

from finetop.core.errors import NoSupervisor
from finetop.core.plan.result import Disk, Plan, Shown, Steps, Time
from finetop.core.protocol.messages.machine import LookAhead, LookAheadAnswer, PathFacts, Paths, PathsAnswer
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Running
from finetop.core.runtime.home import Home
from finetop.tui.app import FinetopApp
from finetop.tui.theme import Look

WHY = "Timeout, server lab not responding."
GIB = 2**30


def make_plan(**more: Any) -> Plan:
    """Return a plan as a form shows it."""
    values: dict[str, Any] = {
        "model": "m", "family": "llama", "parameters": 1, "trainable": 1, "device": "gpu", "device_name": "H100",
        "dtype": "bfloat16", "parts": (), "estimate": 6e9, "need": 6.2 * GIB, "capacity": 80.0 * GIB, "verdict": "fits",
        "fix": None, "gpus": 1, "sharded": (), "steps": Steps(812, 0, 9, 912, "counted", 8, 203, 9, too_long=3),
        "time": Time(540.0, 1000.0, "as run x reached", True), "disk": Disk(1, 1, 1, 1, None), "notes": (), **more,
    }  # fmt: skip
    return Plan(**values)


@dataclass
class FakeLink:
    """A link that a test can switch on and off."""

    label: str
    is_up: bool = True
    tries: int = 0
    socket: Path = Path("/nowhere")

    @property
    def word(self) -> str:
        return f"ana@{self.label}"

    def wait(self) -> None:
        if not self.is_up:
            raise NoSupervisor("not up")

    def why_down(self) -> str:
        return "" if self.is_up else f"can't reach {self.label}: {WHY}"

    def try_now(self) -> None:
        self.tries += 1


class Linked(FakeSupervisor):
    """A supervisor behind a link, unreachable while the link is down."""

    def __init__(self, label: str, rows: list[Any]) -> None:
        super().__init__(rows)
        self.link = FakeLink(label)
        self.home = Home(Path(f"/home/{label}/.finetop"), self.link)

    def down(self) -> None:
        self.link.is_up = False
        self.leave()

    def up(self) -> None:
        self.link.is_up, self.is_gone = True, False

    async def ask(self, ask: Ask) -> Any:
        if self.is_gone and not isinstance(ask, Changes):
            raise NoSupervisor(f"not connected to {self.link.label}: the request was not sent.")
        if isinstance(ask, Paths):
            self.asked.append(ask)
            return PathsAnswer([PathFacts(path, "none", 0) for path in ask.paths])
        if isinstance(ask, LookAhead):
            self.asked.append(ask)
            return LookAheadAnswer(
                [
                    msgspec.to_builtins(Shown(plan=make_plan())),
                    {"row": [["user Hello? ", False], ["Ahoy!", True]]},
                ]
            )
        return await super().ask(ask)


def app_on(*fakes: Linked, here: FakeSupervisor | None = None, folder: Path | None = None) -> FinetopApp:
    connections: dict[str, FakeSupervisor] = {fake.link.label: fake for fake in fakes}
    homes = [fake.home for fake in fakes]
    if here is not None:
        connections["here"] = here
        homes.append(Home(Path("/home/you/.finetop")))
    return FinetopApp(
        homes[0], others=homes[1:], connect=lambda home: connections[home.label], now=lambda: NOW, machine="laptop",
        look=Look("16"), folder=folder or Path("/nowhere"), pace_s=0.01,
    )  # fmt: skip


def two() -> tuple[Linked, Linked]:
    lab = Linked("lab", mixed_rows())
    box = Linked("box", [make_row(1, "support-r16", Running(NOW - 5), step=30), *mixed_rows()[7:9]])
    return lab, box
