"""Triage tables of several machines as one."""

from typing import Any

import pytest

from finetop.core.client.remote.fleet import Fleet
from finetop.core.errors import BadInput, NoSupervisor
from finetop.core.features.triage import messages as triage
from finetop.core.features.triage.messages import SetStanding, Triage, TriageCell, TriageRow
from finetop.core.protocol.request import Ask
from finetop.core.protocol.standing import Standing


def row(id_: int, name: str, drop: float, cells: list[TriageCell | None], **more: Any) -> TriageRow:
    verdict = "regressed" if drop > 3 else "ok"
    return TriageRow(id_, name, "qwen3-4b", "lora", id_, verdict, drop, 3.0, "core", 5.0, cells, **more)


class Machine:
    """Answers with one table; None: the machine is out of reach."""

    def __init__(self, rows: list[TriageRow] | None, tasks: list[str]) -> None:
        self.rows, self.tasks = rows, tasks
        self.asked: list[Any] = []

    async def ask(self, ask: Ask) -> Any:
        self.asked.append(ask)
        if self.rows is None:
            raise NoSupervisor("gone.")
        if isinstance(ask, SetStanding):
            return triage.SetStandingAnswer("done", Standing())
        assert isinstance(ask, Triage)
        total = len(self.rows)
        shown = self.rows[: ask.limit]
        return triage.TriageAnswer(shown, self.tasks, total, total, 1, 0, 0, 0, ["x"], 1, "bad", 5.0)

    def close(self) -> None: ...


def fleet(lost: bool = False) -> tuple[Fleet, dict[str, Machine]]:
    fixed = {"": Standing("fixed", "ana", fixed_by="good")}
    of_lab = [row(2, "bad", 9.0, [TriageCell(40.0, "lost")]), row(1, "good", 0.5, [None])]
    of_box = [
        row(1, "worse", 12.0, [TriageCell(50.0, "lost"), TriageCell(1.0, "open")]),
        row(3, "fixed", 30.0, [None, TriageCell(60.0, "lost")], standings=fixed),
    ]
    box = Machine(None if lost else of_box, ["arith", "arc"])
    machines = {"lab": Machine(of_lab, ["arith"]), "box": box}
    return Fleet(machines), machines


async def test_one_table_worst_first_with_the_tasks_of_all() -> None:
    reply = await fleet()[0].ask(Triage())
    assert [row.name for row in reply.rows] == ["box:worse", "lab:bad", "box:fixed", "lab:good"]
    assert reply.tasks == ["arc", "arith"]
    assert [len(row.cells) for row in reply.rows] == [2, 2, 2, 2]
    assert reply.rows[1].cells == [None, TriageCell(40.0, "lost")]
    assert reply.rows[2].standings[""].fixed_by == "box:good"
    assert (reply.new, reply.total, reply.unchecked) == (2, 4, ["lab:x", "box:x"])
    assert len({row.id for row in reply.rows}) == 4
    page = await fleet()[0].ask(Triage(offset=1, limit=2))
    assert [row.name for row in page.rows] == ["lab:bad", "box:fixed"]
    reply = await fleet(lost=True)[0].ask(Triage())  # a machine out of reach is left out
    assert [row.name for row in reply.rows] == ["lab:bad", "lab:good"]


async def test_a_fix_is_named_as_its_own_machine_knows_it() -> None:
    asked_fleet, machines = fleet()
    await asked_fleet.ask(SetStanding("box:worse", "", Standing("fixed", fixed_by="box:good")))
    assert machines["box"].asked[-1] == SetStanding("worse", "", Standing("fixed", fixed_by="good"))
    with pytest.raises(BadInput, match="same machine"):
        await asked_fleet.ask(SetStanding("box:worse", "", Standing("fixed", fixed_by="lab:good")))
