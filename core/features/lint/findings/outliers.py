"""Rows whose answer the base model finds far harder or easier than the others: noise, or text known by heart."""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, starmap
from pathlib import Path
from statistics import median

import msgspec

from finetop.core.data.formats import Conversation
from finetop.core.errors import BadInput
from finetop.core.features.lint.findings import Finder, Rule, example, excerpt
from finetop.core.features.lint.report import EXAMPLES, LEARNED, PLACES, Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole
from finetop.core.recipe.schema import Source

FAR = 4.0  # robust standard deviations from the median of answers of similar length
BUCKETS = (8, 32, 128)  # answer tokens: a mean over few tokens varies far more than one over many
LEAST = 20  # answers of a length needed to know their spread


@dataclass(frozen=True, slots=True)
class Outlier:
    """A row, its loss in nats per token, and its distance from the median in robust standard deviations."""

    at: int
    loss: float
    z: float


class _Losses(Finder):
    """Scores an evenly spread sample of the rows, or every row."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.ats = array("Q")
        self.tokens = array("Q")

    def add(self, at: int, seen: int) -> None:
        self.ats.append(at)
        self.tokens.append(seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Score rows, and report those that stand out. Raises FinetopError."""
        if not self.ats:
            return []
        chosen = spread(len(self.ats), self.lens.sample)
        losses = _losses(whole, [self.ats[number] for number in chosen])
        scored = zip(chosen, losses, strict=True)
        known = [(self.ats[at], self.tokens[at], loss) for at, loss in scored if loss is not None]
        found = outliers(known)
        if not found:
            return []
        middle = median(loss for _, _, loss in known)
        worst = sorted(found, key=lambda outlier: -abs(outlier.z))[:EXAMPLES]
        rows = zip(worst, whole.again([outlier.at for outlier in worst]), strict=True)
        shown = ((row.place, f"{outlier.loss:.2f} nats: {excerpt(row.answer)}") for outlier, row in rows)
        of_all = "" if len(chosen) == len(self.ats) else f", a sample of {len(self.ats):,}"
        harder = sum(one.z > 0 for one in found)
        return [
            self.rule.finding(
                whole,
                len(found),
                (one.at for one in found[:PLACES]),
                of=len(known),
                why=f"{self.rule.why} Median {middle:.2f} nats/token over {len(known):,} answers{of_all}.",
                kinds={"far harder": harder, "far easier": len(found) - harder},
                examples=tuple(starmap(example, shown)),
            )
        ]


def spread(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` numbers, evenly spread."""
    number = min(count, most)
    return [place * count // number for place in range(number)]


def outliers(known: Sequence[tuple[int, int, float]]) -> list[Outlier]:
    """Find what stands out among answers of similar length; `known` has rows, their answer tokens and losses.

    The logarithm of the loss is compared, since losses are skewed: median and median absolute deviation, the latter
    times 1.4826, which for a normal distribution is the standard deviation (Iglewicz and Hoaglin 1993).
    """
    groups: dict[int, list[tuple[int, float, float]]] = {}
    for at, tokens, loss in known:
        bucket = sum(tokens > limit for limit in BUCKETS)
        groups.setdefault(bucket, []).append((at, loss, math.log(loss + 0.05)))
    extremes = []
    for group in groups.values():
        if len(group) < LEAST:
            continue
        middle = median(value for _, _, value in group)
        deviation = 1.4826 * median(abs(value - middle) for _, _, value in group)
        if not deviation:
            continue
        scaled = [Outlier(at, loss, (value - middle) / deviation) for at, loss, value in group]
        extremes += [outlier for outlier in scaled if abs(outlier.z) > FAR]
    return sorted(extremes, key=lambda outlier: outlier.at)


def _losses(whole: Whole, ats: Sequence[int]) -> list[float | None]:
    """Score the answers of rows under the base model, in nats per token; scores are cached in the home."""
    from finetop.core.features.select.losses import open_scorer
    from finetop.core.features.select.pool import Pool
    from finetop.core.models import resolve
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.job_process import set_environment

    if whole.model is None:
        raise BadInput("--loss needs a model.", hint="Name a recipe, or --model ID.")
    set_environment()
    with tempfile.TemporaryDirectory(prefix="finetop-lint-") as folder:
        whole.say("loading the model", 0, 0)
        base = resolve.resolve_model(whole.model, whole.home, EventLog(Path(folder) / "events.jsonl"))
        scorer = open_scorer(base, whole.model.dtype, whole.home)
        losses: list[float | None] = []
        path = Path(folder) / "rows.jsonl"
        for format_name, rows in _by_format(whole, ats):
            path.write_bytes(b"".join(msgspec.json.encode(row.raw) + b"\n" for row in rows))
            source = Source(path=str(path), format=format_name)
            lines = tuple(range(1, len(rows) + 1))
            losses += scorer.losses(Pool(source, "", lines, whole.say), with_prompt=True)
        return losses


def _by_format(whole: Whole, ats: Sequence[int]) -> Iterator[tuple[str, list[Row]]]:
    """Yield rows in order, grouped as long as they come from one source."""
    for source, rows in groupby(whole.again(ats), key=lambda row: row.source):
        yield str(whole.reads[source].format), list(rows)


class Outliers(Rule):
    option = "loss"
    about = "answers that stand out by the base model's loss"
    why = (
        "What is far harder than the rest is often noise: the wrong answer, another language, damaged text. What is far"
        " easier teaches next to nothing. Read them before you remove any."
    )
    fix = ""  # a hard row may be the one that matters
    do = "read the answers that stand out"
    finder = _Losses

    def scan(self, row: Row, lens: Lens) -> int | None:
        """Return the number of learned tokens of a row that can be scored."""
        if row.role not in LEARNED or not isinstance(row.record, Conversation) or row.refused:
            return None
        return row.learned or None


PLUGIN = Outliers()
