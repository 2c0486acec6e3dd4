"""The measuring job: an approach's score on every row of the target, the price of a query, and the new facts.

First some single queries, one after the other, on a warm model, in several rounds: they give the price, and the peak
memory until then is what answering needs. Then all rows in batches, from the cache of scores if they are there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.check.scoring import cache, target
from finetop.core.check.scoring.batch_plan import BatchPlan, halve_until_it_fits
from finetop.core.check.scoring.target import TargetRow
from finetop.core.data.prompts import Asker, open_asker, print_skipped
from finetop.core.errors import BadInput
from finetop.core.features.approaches import approaches
from finetop.core.features.approaches.leaks import leaked
from finetop.core.features.approaches.loaded import Loaded, load_approach
from finetop.core.features.approaches.price import peak_memory, price_of, price_queries
from finetop.core.models import devices
from finetop.core.protocol.check_result import Metric
from finetop.core.protocol.events import ApproachMeasured, Ended, ItemScore, Phase, RowScore
from finetop.core.recipe.schema import Ask, Recipe, Target
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_process import silence_libraries

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft", "bm25s")
IF_STOPPED = "asked to stop; what was scored is kept"
NAMED_DOCUMENTS = 20  # unusable documents that are named
NO_PROMPTS = "the target's rows are plain texts, which get no prompt: this is the score without it."
SHOWN_ANSWER = 300  # characters of an answer that are stored with its score
Scores = dict[str, list[RowScore]]


def work(job: Job) -> Ended:
    """Record who runs on what, then measure."""
    silence_libraries()
    device = devices.open_device(job.gpu_gib)
    job.started(devices.describe_device(device), devices.number_format(job.dtype, None, device), PACKAGES)
    result = measure(request_of(job, device), job.home, job.events, job.run_folder)
    job.events.write(result)
    print(result_line(result), flush=True)
    return Ended("finished")


def request_of(job: Job, device: str) -> MeasureRequest:
    """Parse what to measure: a checkpoint, or without one the base as it is. Raises BadInput."""
    name, step = job.args.get("approach"), job.args.get("step")
    if not isinstance(name, str) or name not in approaches.names():
        hint = f"It is one of {', '.join(approaches.names())}."
        raise BadInput(f"job.json: args.approach is {name!r}.", hint=hint)
    trains = not job.spec.kind.makes_a_run
    return MeasureRequest(
        approach=name,
        recipe=job.recipe(),
        step=step if isinstance(step, int) else None,
        checkpoint=job.inside(job.args.get("checkpoint")) if trains else None,
        learns_news=bool(job.args.get("learns_news", False)),
        device=device,
    )


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure: the base as it is, or a checkpoint of a run that trains."""

    approach: str
    recipe: Recipe
    step: int | None
    checkpoint: Path | None
    learns_news: bool
    device: str


def measure(request: MeasureRequest, home: Home, events: EventLog, run_folder: Path) -> ApproachMeasured:
    """Measure an approach and return the result; the version of the test that was read is recorded with the run.

    Raises BadInput for a recipe, rows or documents that can't be used, EnvironmentTrouble if even the smallest
    batch does not fit in memory.
    """
    recipe = request.recipe
    if recipe.check.target is None:
        raise BadInput("check.target is not set.", hint="Approaches are compared by their score on it.")
    if recipe.ask.documents or recipe.ask.shots:
        events.write(Phase("indexing"))
    asker = open_asker(recipe.ask, recipe.data.train, home)
    print_skipped(asker)
    loaded = load_approach(recipe, request.checkpoint, request.device, home, events)
    wanted, tokenizer, window = recipe.check.target, loaded.tokenizer, recipe.data.max_tokens
    rows = target.read_rows(wanted, tokenizer, home, loaded.longest, asker, events.write, run_folder, window)
    notes = [NO_PROMPTS] if asker is not None and rows[0].text is not None else _of_documents(asker)
    events.write(Phase("pricing queries"))
    prices = price_queries(loaded, rows, recipe.check.target, asker)
    memory = peak_memory(request.device)
    scores = score_all(loaded, rows, recipe.check.target, home, events, "target")
    news = measure_news(request, loaded, asker, home, events)
    reads_rows = approaches.load(request.approach).trains or bool(recipe.ask.shots)
    tested, found = leaked(recipe, wanted, home) if reads_rows else (0, [])
    return ApproachMeasured(
        approach=request.approach,
        step=request.step,
        scores=scores,
        prompt_tokens=statistics.fmean(len(row.prompt) for row in rows),
        queries=prices.queries,
        price_of=price_of(request.device),
        others=round(prices.others, 3),
        memory_gib=memory,
        memory_of="GPU" if request.device.startswith("cuda") else "host",
        index_s=asker.seconds if asker is not None else 0.0,
        passages=len(asker.index.chunks) if asker is not None and asker.index is not None else 0,
        news=news.before,
        news_after=news.after,
        news_s=news.seconds,
        tested=tested,
        leaked=found,
        notes=notes,
    )


def _of_documents(asker: Asker | None) -> list[str]:
    """Return which documents could not be used, and for how many questions no passage was found."""
    if asker is None or asker.index is None:
        return []
    notes = asker.passed_over
    if len(notes) > NAMED_DOCUMENTS:
        rest = f"documents: {len(notes) - NAMED_DOCUMENTS + 1} more are not used."
        notes = [*notes[: NAMED_DOCUMENTS - 1], rest]
    without_passage = sum(number == 0 for number in asker.passage_counts)
    if without_passage:
        notes = [
            f"no passage fits {without_passage} of {len(asker.passage_counts)} questions: they got none.",
            *notes,
        ]
    return notes


def score_all(
    loaded: Loaded, rows: Sequence[TargetRow], settings: Target, home: Home, events: EventLog, what: str
) -> Scores:
    """Score the rows by every metric of the target, using cached scores."""
    scores_by_metric: Scores = {}
    for metric in settings.metrics:
        metric_rows = target.rows_for(metric, rows, loaded.device, settings)
        events.write(Phase(f"{what}: {metric}", done=0.0, total=float(len(metric_rows)), unit="rows"))
        scores = cached_or_scored(loaded, metric_rows, metric, settings, home)
        scores_by_metric[metric] = [
            RowScore(
                row.item,
                target.value_of(metric, scores[row.item]),
                target.weight_of(metric, row),
                scores[row.item].answer[:SHOWN_ANSWER],
            )
            for row in metric_rows
        ]
    return scores_by_metric


def cached_or_scored(
    loaded: Loaded, rows: Sequence[TargetRow], metric: Metric, settings: Target, home: Home
) -> dict[str, ItemScore]:
    """Return scores from the cache if all are there, else score the rows and cache them, under the key of a check."""
    prompts = {row.item: row.prompt_hash for row in rows}

    def under(plan: BatchPlan) -> dict[str, ItemScore]:
        run = {**loaded.facts, **plan.facts(writes=metric != "nats_per_token")}
        key = cache.score_key(run, target.task_facts(metric, rows, settings))

        def fresh() -> list[ItemScore]:
            return target.score_rows(metric, rows, settings, loaded.model, loaded.tokenizer, plan)

        return cache.read_or_score(home.scores, key, prompts, fresh)

    return halve_until_it_fits(under, loaded.plan, loaded.device, or_else="measure on a larger device")


@dataclass(frozen=True)
class NewsScores:
    """Scores on the questions about new facts: before and after the approach can retrieve them."""

    before: Scores
    after: Scores
    seconds: float | None


def measure_news(
    request: MeasureRequest, loaded: Loaded, asker: Asker | None, home: Home, events: EventLog
) -> NewsScores:
    """Score the questions about the new facts; then add the facts to this approach's index, and score again."""
    recipe = request.recipe
    update, target_settings = recipe.approaches.update, recipe.check.target
    if update is None or target_settings is None:
        return NewsScores({}, {}, None)
    questions = msgspec.structs.replace(target_settings, path=update.test)

    def ask_by(row_asker: Asker | None, what: str) -> Scores:
        tokenizer, longest, window = loaded.tokenizer, loaded.longest, recipe.data.max_tokens
        rows = target.read_rows(questions, tokenizer, home, longest, row_asker, window=window)
        return score_all(loaded, rows, questions, home, events, what)

    before = ask_by(asker, "new facts, before")
    grown = with_news(request)
    if grown is None:
        return NewsScores(before, {}, None)
    events.write(Phase("indexing the new facts"))
    train = (*recipe.data.train, *update.train)
    began = time.perf_counter()
    grown_asker = open_asker(grown, train, home)
    spent = time.perf_counter() - began
    assert grown_asker is not None
    return NewsScores(before, ask_by(grown_asker, "new facts, after"), max(spent, grown_asker.seconds))


def with_news(request: MeasureRequest) -> Ask | None:
    """Return the prompt settings with the new facts added, or None if this approach does not retrieve them."""
    recipe = request.recipe
    ask, update = recipe.ask, recipe.approaches.update
    if update is None or request.learns_news or approaches.load(request.approach).updates != "index":
        return None
    if ask.documents and update.documents:
        return msgspec.structs.replace(ask, documents=(*ask.documents, *update.documents))
    return ask if ask.shots and ask.pick == "nearest" and update.train else None


def result_line(result: ApproachMeasured) -> str:
    """Return the result in one line."""
    means = [
        f"{metric} {sum(row.value for row in rows) / sum(row.weight for row in rows):.3f}"
        for metric, rows in result.scores.items()
        if rows
    ]
    line = f"{result.approach}: {', '.join(means)}; {result.prompt_tokens:.0f} tokens of prompt"
    if not result.queries:  # plain texts have none
        return line
    spent = statistics.fmean(statistics.median(query.spent_s) for query in result.queries)
    return f"{line}, {spent:.2f} {result.price_of} s a query"
