"""The scores of public benchmarks in a check: only of those of which every item was scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.messages.push import PublicScore


class Benchmark(NamedTuple):
    dataset: str  # on the hub
    part: str  # its subset there
    items: int  # of the split that the lm-evaluation-harness scores


# By the harness's name. A suite's cap, or a verdict that came early, leaves items out: that is no score of a benchmark.
BENCHMARKS = {
    "arc_easy": Benchmark("allenai/ai2_arc", "ARC-Easy", 2376),
    "arc_challenge": Benchmark("allenai/ai2_arc", "ARC-Challenge", 1172),
    "boolq": Benchmark("aps/super_glue", "boolq", 3270),
    "gsm8k": Benchmark("openai/gsm8k", "gsm8k", 1319),
    "hellaswag": Benchmark("Rowan/hellaswag", "default", 10042),
    "ifeval": Benchmark("google/IFEval", "default", 541),
    "lambada_openai": Benchmark("EleutherAI/lambada_openai", "default", 5153),
    "openbookqa": Benchmark("allenai/openbookqa", "main", 500),
    "piqa": Benchmark("baber/piqa", "default", 1838),
    "sciq": Benchmark("allenai/sciq", "default", 1000),
    "truthfulqa_mc1": Benchmark("truthfulqa/truthful_qa", "multiple_choice", 817),
    "winogrande": Benchmark("allenai/winogrande", "winogrande_xl", 1267),
}


def public_scores(outcome: CheckResult, version: str) -> Iterator[PublicScore]:
    """Yield the tuned model's score on each public benchmark that was scored to its last item."""
    for task in outcome.tasks:
        benchmark = BENCHMARKS.get(task.task)
        if benchmark is None or task.tuned is None or not task.n == task.total == benchmark.items:
            continue
        notes = f"lm-evaluation-harness task {task.task}, all {task.n:,} items, by finetop {version}"
        yield PublicScore(task.task, benchmark.dataset, benchmark.part, round(100 * task.tuned, 2), notes)
