"""Comparisons of approaches in memory, for tests of the Approaches screen: measured, under way, and none."""

from __future__ import annotations

from typing import Any

from tui_fakes import NOW, FakeSupervisor, make_row

from finetop.core.errors import NotFound
from finetop.core.features.approaches.messages import (
    Advice,
    Approaches,
    ApproachesAnswer,
    ApproachRow,
    ComparisonBrief,
    Gap,
    News,
    Price,
    QueuedApproach,
    Retained,
    RunBrief,
    Score,
    SubmitApproaches,
    SubmitApproachesAnswer,
)
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Finished

DONE = Finished(NOW - 9000, NOW - 4000)
SAME = Retained(0.0, [], same_weights=True)


def score(mean: float, half: float = 0.04, seeds: int = 1, spread: float | None = None) -> Score:
    return Score(mean, mean - half, mean + half, 103, seeds, spread)


def price(median: float, others: float = 0.02) -> Price:
    return Price(median, 0.9 * median, 1.1 * median, "CPU", 8, 3, others)


def gap(mean: float, half: float = 0.05) -> Gap:
    return Gap(mean, mean - half, mean + half, 103)


def news(how: Any, before: float, after: float | None, seconds: float | None) -> News:
    change = None if after is None else gap(after - before)
    return News(how, score(before), None if after is None else score(after), change, seconds)


def runs(name: str, first: int, seeds: int = 1, state: str = "finished", **facts: Any) -> list[RunBrief]:
    measured = state == "finished"
    return [
        RunBrief(first + seed, f"kb-{name}-s{seed}", state, seed, is_measured=measured, **facts)
        for seed in range(1, seeds + 1)
    ]


def row(name: str, about: str, *, trains: bool = False, state: Any = "measured", **facts: Any) -> ApproachRow:
    return ApproachRow(name=name, about=about, trains=trains, state=state, **facts)


def measured_rows() -> list[ApproachRow]:
    """Return the results of five approaches, the best first."""
    return [
        row("retrieval-lora", "trained by lora to answer from passages", trains=True, is_best=True,
            runs=runs("retrieval-lora", 10, 3), target=score(0.713, 0.061, 3, 0.021),
            retained=Retained(0.9, ["ok", "ok", "no_verdict"], spread=0.4, margin=3.0),
            setup_s=312.0, prompt_tokens=690.0, query=price(2.31),
            rows_seen=310, rows_given=310, epochs_seen=3.0, losses=(2.31, 0.92), loss_midway=1.0,
            memory_gib=1.4, memory_of="host", news=news("index", 0.12, 0.66, 0.21)),
        row("retrieval", "passages of the documents before the question", runs=runs("retrieval", 20),
            target=score(0.655, 0.066), gap=gap(-0.058, 0.071), retained=SAME, setup_s=0.21, prompt_tokens=690.0,
            query=price(2.28), memory_gib=1.3, memory_of="host", news=news("index", 0.11, 0.64, 0.21)),
        row("full", "all weights trained on data.train", trains=True, runs=runs("full", 30, 3),
            target=score(0.402, 0.07, 3, 0.035), gap=gap(-0.311, 0.08),
            retained=Retained(9.1, ["regressed", "regressed", "ok"], spread=2.4, margin=3.0),
            setup_s=544.0, prompt_tokens=31.0, query=price(0.52, 0.61),
            rows_seen=72, rows_given=310, epochs_seen=0.2323, losses=(2.31, 1.7), loss_midway=2.0,
            memory_gib=1.9, memory_of="host", news=news("train", 0.1, 0.31, 560.0)),
        row("few-shot", "examples of data.train before the question", runs=runs("few-shot", 40),
            target=score(0.233, 0.05), gap=gap(-0.48, 0.08), retained=SAME, setup_s=0.0, prompt_tokens=240.0,
            query=price(0.9), rows_seen=4, memory_gib=1.1, memory_of="host", news=news("", 0.1, None, None)),
        row("prompt", "the question alone", runs=runs("prompt", 50), target=score(0.151, 0.04),
            gap=gap(-0.562, 0.08), retained=SAME, setup_s=0.0, prompt_tokens=31.0, query=price(0.5), rows_seen=0,
            memory_gib=1.1, memory_of="host", news=news("", 0.1, None, None)),
    ]  # fmt: skip


ADVICE = [
    Advice("changing knowledge", "Answers new facts soonest: retrieval in 0.21 s (0.11 [0.07, 0.15] to 0.64 [0.60,"
           " 0.68]); then full in 9 min (0.10 [0.06, 0.14] to 0.31 [0.27, 0.35]). few-shot and prompt took none in."),
    Advice("style and format", "Not measured: token f1 is no score of form. Add rules to check.target, and compare"
           " by them."),
    Advice("a domain's vocabulary", "Not measured: add nats_per_token to check.target.metric, which says how"
           " expected the wording is."),
    Advice("price", "retrieval-lora: 5.2 min of set-up, 2.31 CPU s [2.08, 2.54] a query, 690 tokens of prompt;"
           " retrieval: 0.21 s of set-up, 2.28 CPU s [2.05, 2.51] a query, 690 tokens of prompt. A query costs the same"
           " with both; retrieval-lora is trained first."),
    Advice("what would change this", "More rows to ask: 103 were, and retrieval can't be distinguished from the best."
           " Were the nearest difference real, about 154 rows would show it."),
    Advice("what would change this", "A gentler setting of full: it REGRESSED, so what it gains costs what the base"
           " could."),
    Advice("not measured", "GPU time and energy: no GPU was used."),
]  # fmt: skip


def measured() -> ApproachesAnswer:
    left = [
        row(
            "qlora",
            "lora on 4-bit weights",
            trains=True,
            state="left out",
            message="needs a GPU, and there is none",
        )
    ]
    return answer([*measured_rows(), *left], ADVICE, 11, 0)


def meanwhile() -> ApproachesAnswer:
    """Return a comparison with two measured approaches; the others run, wait or failed."""
    rows = measured_rows()
    rest = [
        row("lora", "adapters trained on data.train", trains=True, state="under way", message="training, 40 %",
            runs=[*runs("lora", 60, 2, "running", message="training"),
                  *runs("lora-news", 62, 1, "queued", learns_news=True)]),
        row("full", "all weights trained on data.train", trains=True, state="failed",
            message="out of memory: needs 9.1 GiB, 7.8 free",
            runs=runs("full", 30, 1, "failed", message="out of memory: needs 9.1 GiB")),
    ]  # fmt: skip
    return answer([rows[1], rows[4], *rest], [], 2, 4)


def answer(rows: list[ApproachRow], advice: list[Advice], done: int, to_come: int) -> ApproachesAnswer:
    briefs = [
        ComparisonBrief("kb", NOW - 9000, "token_f1", len(rows), done + to_come, done, to_come),
        ComparisonBrief("older", NOW - 99000, "rules", 2, 2, 2, 0),
    ]
    return ApproachesAnswer(
        briefs, "kb", "token_f1", False, "smollm2-135m-instruct", "qa_test.jsonl", rows, advice
    )


class ComparingSupervisor(FakeSupervisor):
    """Serves one comparison; its runs are the runs of the list."""

    def __init__(self, found: ApproachesAnswer | None) -> None:
        runs = [] if found is None else [run for approach in found.rows for run in approach.runs]
        rows = [make_row(run.id, run.name, DONE, tags=["approaches/kb"]) for run in runs]
        super().__init__(rows or [make_row(1, "alone", DONE)])
        self.found = found

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, SubmitApproaches):
            self.asked.append(ask)
            queued = [
                QueuedApproach(90 + at, run.name, run.approach, at == 0) for at, run in enumerate(ask.runs)
            ]
            return SubmitApproachesAnswer(ask.name, queued, ask.left_out)
        if not isinstance(ask, Approaches):
            return await super().ask(ask)
        self.asked.append(ask)
        if self.found is None:
            return ApproachesAnswer([])
        if ask.comparison == "older":
            rows = [row("prompt", "", target=score(0.4), is_best=True, retained=SAME, runs=runs("old", 70))]
            return ApproachesAnswer(self.found.comparisons, "older", "rules", False, "m", "t", rows)
        if ask.comparison not in ("", "kb", *(run.name for run in self.found.comparisons)):
            raise NotFound(f"there is no comparison {ask.comparison!r}.")
        return self.found
