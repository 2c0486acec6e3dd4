"""Several runs in memory to compare: one that forgot, and two that did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from run_fakes import FakeRun, make_detail, make_source
from tui_fakes import NOW, make_check

from finetop.core.errors import NotFound
from finetop.core.features.data_versions.messages import DataDiffer, DataDifferAnswer, SourcePair
from finetop.core.protocol.data_diff import Difference, Example
from finetop.core.protocol.messages.runs import Curves, GetRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Finished

if TYPE_CHECKING:
    from finetop.core.protocol.runs import RunDetail


class SeveralRuns(FakeRun):
    """Answers for several runs by name; each one's curves are a little lower than the previous one's."""

    def __init__(self, details: list[RunDetail], evil: str = "") -> None:
        super().__init__(details[0])
        self.evil = evil
        self.details = {detail.row.name: detail for detail in details}

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, GetRun):
            self.asked.append(ask)
            if ask.run not in self.details:
                raise NotFound(f"there is no run {ask.run}.")
            return self.details[ask.run]
        if isinstance(ask, DataDiffer):
            self.asked.append(ask)
            first, other = (self.details[name].sources[0] for name in (ask.run, ask.other))
            shown = Example("Can I pay later? -> No.", f"Can I pay later? -> Yes, in three parts.{self.evil}")
            pair = SourcePair(first, other, Difference(374, 38, 0, 5, examples=[shown], not_found=3))
            return DataDifferAnswer(ask.run, ask.other, [pair])
        answer = await super().ask(ask)
        if isinstance(ask, Curves):
            down = 0.2 * list(self.details).index(ask.run)
            lower = [
                msgspec.structs.replace(first, mean=[value - down for value in first.mean])
                for first in answer.curves
            ]
            return msgspec.structs.replace(answer, curves=lower)
        return answer


def three(evil: str = "") -> SeveralRuns:
    """Return a full tuning that forgot, and two runs that did not; C trails B at both ends."""

    def made(name: str, verdict: Any, drop: float, target: float, rate: float) -> RunDetail:
        check = make_check(verdict, drop, target={"exact_match": [0.71, target]})
        detail = make_detail(Finished(NOW - 5000, NOW - 4000), 1200, name=name + evil, check=check)
        recipe = {**detail.recipe, "train": {**detail.recipe["train"], "learning_rate": rate}, "about": evil}
        read = [make_source(1, 412, evil=evil) if name.endswith("1e-4") else make_source(2, 417, evil=evil)]
        return msgspec.structs.replace(detail, recipe=recipe, sources=read)

    return SeveralRuns(
        [
            made("support-full-1e-4", "regressed", 9.1, 0.91, 1e-4),
            made("support-r16", "ok", 0.1, 0.86, 2e-4),
            made("support-full-1e-5", "ok", 0.4, 0.83, 1e-5),
        ],
        evil,
    )
