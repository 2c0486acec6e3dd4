"""The measuring job: an approach's score on every row of the target, the price of a query, and the new facts.

First some single queries, one after the other, on a warm model, in several rounds: they give the price, and the peak
memory until then is what answering needs. Then all rows in batches, from the cache of scores if they are there.

On a CPU a query's price is the process's own CPU seconds on one thread. By wall-clock time the same query takes twice
as long beside other jobs (0.9 to 1.4 s alone, 2.3 to 2.7 s beside three, on two cores), and several threads burn CPU
time while they wait for each other (1.4 to 14 CPU seconds); on one thread it is 0.9 to 1.4 CPU seconds alone, 1.2 to
1.4 beside three.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from finetop.core import approaches
from finetop.core.check.model_pair import ModelPair, facts_of, open_pair
from finetop.core.check.scoring import cache, target
from finetop.core.check.scoring.batch_plan import BatchPlan, Prompt, halve_until_it_fits
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.scorer import packs_exactly, plan_for
from finetop.core.check.scoring.target import TargetRow
from finetop.core.data.prompts import Asker, open_asker, print_skipped
from finetop.core.errors import BadInput
from finetop.core.models import devices, load, resolve
from finetop.core.models.devices import scoring_dtype
from finetop.core.models.engine import engine_for
from finetop.core.models.forward import longest_input
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.protocol.events import ApproachMeasured, Ended, ItemScore, Phase, QueryPrice, RowScore
from finetop.core.recipe.schema import Ask, Metric, Recipe, Target
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_process import silence_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft", "bm25s")
IF_STOPPED = "asked to stop; what was scored is kept"
ROUNDS = 3  # of the same queries, one at a time, after a warm-up query
TIMED = 8  # queries per round,
TIMED_S = 60.0  # but only as many as fit into this time for all rounds, judged by the first,
TIMED_LEAST = 2  # and at least this many
GIB = 2**30
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
    trains = job.spec.verb == "measure"
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


@dataclass(frozen=True)
class Loaded:
    """A model to query, its tokenizer, and the facts that its scores depend on."""

    model: Any
    tokenizer: Tokenizer
    facts: Mapping[str, Any]
    plan: BatchPlan
    longest: int
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
    loaded = open_approach(request, home, events)
    wanted, tokenizer, window = recipe.check.target, loaded.tokenizer, recipe.data.max_tokens
    rows = target.read_rows(wanted, tokenizer, home, loaded.longest, asker, events.write, run_folder, window)
    notes = [NO_PROMPTS] if asker is not None and rows[0].text is not None else _of_documents(asker)
    events.write(Phase("pricing queries"))
    prices = price_queries(loaded, rows, recipe.check.target, asker)
    memory = peak_memory(request.device)
    scores = score_all(loaded, rows, recipe.check.target, home, events, "target")
    news = measure_news(request, loaded, asker, home, events)
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


def open_approach(request: MeasureRequest, home: Home, events: EventLog) -> Loaded:
    """Load the base, or the checkpoint. Raises BadInput."""
    events.write(Phase("loading model"))
    recipe, device = request.recipe, request.device
    base = resolve.resolve_model(recipe.model, home, events)
    if request.checkpoint is None:
        kind = scoring_dtype(recipe.model.dtype, base.path, device)
        pair = ModelPair(base, None, kind, device)
        model, tokenizer = load.load_model(base, load.torch_dtype(kind, device), device)
    else:
        pair = open_pair(base, request.checkpoint, recipe.model.dtype, device)
        dtype = load.torch_dtype(pair.dtype, device)
        model, tokenizer = load_checkpoint(base, request.checkpoint, dtype, device)
        if recipe.objective.name != "pretrain":  # pretrain may have its own tokenizer
            tokenizer = load.load_tokenizer(base)
    model.eval()
    reads_alone = request.checkpoint is not None and pair.reads_rows_alone
    plan = plan_for(
        device, engine_for(recipe.model.engine, device, pair.dtype, model.config, learned_tokens=reads_alone)
    )
    if reads_alone or not packs_exactly(model):
        plan = replace(plan, layout="plain")
    facts = facts_of(pair, "base" if request.checkpoint is None else "tuned", tokenizer, home)
    return Loaded(model, tokenizer, facts, plan, longest_input(model.config, tokenizer), device)


@dataclass(frozen=True)
class Prices:
    """The prices of queries, and the share of the machine's CPUs that other processes used meanwhile."""

    queries: list[QueryPrice]
    others: float


def price_queries(loaded: Loaded, rows: Sequence[TargetRow], settings: Target, asker: Asker | None) -> Prices:
    """Answer some evenly spaced rows one at a time, in rounds. The time of retrieval is added.

    Approaches have the same rows, so one with time for fewer queries answers the first of the same rows.
    """
    import torch

    if rows[0].text is not None:
        return Prices([], 0.0)  # plain texts have no queries
    most = target.longest_answer(rows, settings)
    count = min(TIMED, len(rows))
    priced_rows = [rows[at * len(rows) // count] for at in range(count)]
    looked_up = statistics.median(asker.spent) if asker is not None and asker.spent else 0.0
    on_gpu = loaded.device.startswith("cuda")
    clock = time.perf_counter if on_gpu else time.process_time

    def spent_on(row: TargetRow) -> float:
        began = clock()
        answer(loaded.model, loaded.tokenizer, [Prompt(row.prompt, (), most)], loaded.plan)
        return clock() - began + looked_up

    threads = torch.get_num_threads()
    if not on_gpu:
        torch.set_num_threads(1)
    try:
        began = time.monotonic()
        spent_on(priced_rows[0])
        first_s = time.monotonic() - began
        priced_rows = priced_rows[: max(TIMED_LEAST, int(TIMED_S / ROUNDS / max(first_s, 1e-3)))]
        load = Load()
        rounds = [[spent_on(row) for row in priced_rows] for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    spent = zip(*rounds, strict=True)
    pairs = zip(priced_rows, spent, strict=True)
    return Prices([QueryPrice(row.item, list(seconds)) for row, seconds in pairs], load.others())


class Load:
    """The use of the machine's CPUs by other processes since its creation."""

    def __init__(self) -> None:
        self._began = self._now()

    def others(self) -> float:
        """Return the others' share of all CPUs, 0 to 1."""
        moments, busy, own = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return min(1.0, max(0.0, busy - own) / max(moments * (psutil.cpu_count() or 1), 1e-9))

    def _now(self) -> tuple[float, float, float]:
        """Return the time, and the CPU seconds of all processes and of this one. `user` already includes guests."""
        moment, times, own = self._sample()
        rest = ("idle", "iowait", "guest", "guest_nice")
        return moment, sum(times) - sum(getattr(times, name, 0.0) for name in rest), own

    def _sample(self) -> tuple[float, Any, float]:
        return time.monotonic(), psutil.cpu_times(), time.process_time()


def price_of(device: str) -> str:
    return "GPU" if device.startswith("cuda") else "CPU"


def peak_memory(device: str) -> float:
    """Return the peak memory so far, in GiB: of the GPU, or of this process."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


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
    spent = statistics.fmean(statistics.median(query.spent_s) for query in result.queries)
    price = f"{spent:.2f} {result.price_of} s a query"
    return f"{result.approach}: {', '.join(means)}; {result.prompt_tokens:.0f} tokens of prompt, {price}"
