"""The columns of approaches: how well each does, what it costs, and what it read."""

from __future__ import annotations

from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, News
from finetop.core.features.approaches.wording import epochs, query, query_head, retained, score, seconds
from finetop.core.text import counted
from finetop.core.wording.columns import NOT_KNOWN, Column
from finetop.core.wording.units import gib, metric_words, plus_minus


def tables(answer: ApproachesAnswer) -> tuple[list[Column[ApproachRow]], ...]:
    """Return three tables: results, costs with the intake of new facts, and what was read with a query's price."""
    return (
        [NAME, target(answer), LEAKED, SEEDS, VS_BEST, RETAINED, FORGOT],
        [NAME, SET_UP, GPU, PROMPT, MEMORY, NEW_FACTS, TAKEN_IN_BY, TAKEN_IN],
        [NAME, ROWS_SEEN, EPOCHS, LOSS, price(answer)],
    )


def target(answer: ApproachesAnswer) -> Column[ApproachRow]:
    """Return the column of the score by which approaches are compared."""
    return Column(metric_words(answer.metric), lambda row: score(row.target))


def price(answer: ApproachesAnswer) -> Column[ApproachRow]:
    """Return the column of the price of a query, in seconds of the CPU or the GPU."""
    return Column(query_head(answer), lambda row: query(row.query))


def _leaked(row: ApproachRow) -> str:
    """Return how many questions of the test are among its training rows: '8 of 70'; empty if none is."""
    return f"{row.leaked} of {row.tested}" if row.leaked else ""


def _seeds(row: ApproachRow) -> str:
    spread = None if row.target is None else row.target.spread
    return NOT_KNOWN if spread is None else f"±{spread:.2f}"


def _vs_best(row: ApproachRow) -> str:
    if row.gap is None:
        return "best" if row.is_best else NOT_KNOWN
    mean, half = plus_minus(row.gap.mean, (row.gap.high - row.gap.low) / 2, 2)
    return f"{'+' if float(mean) > 0 else ''}{mean} ±{half}{'=' if row.gap.is_open else ''}"


def _gpu(row: ApproachRow) -> str:
    """Return the GPU time, and the energy if the GPU reports its power."""
    if row.gpu_s is None:
        return NOT_KNOWN
    return seconds(row.gpu_s) + ("" if row.energy_wh is None else f" {row.energy_wh:.1f} Wh")


def _prompt(row: ApproachRow) -> str:
    return NOT_KNOWN if row.prompt_tokens is None else f"{row.prompt_tokens:,.0f} tok"


def _memory(row: ApproachRow) -> str:
    return NOT_KNOWN if row.memory_gib is None else f"{gib(row.memory_gib)} GiB"


def _new_facts(row: ApproachRow) -> str:
    """Return the score on new facts before and after they were taken in."""
    news = row.news
    if news is None or news.before is None:
        return NOT_KNOWN
    if news.after is None:
        return f"{news.before.mean:.2f}, can't"
    is_open = "=" if news.gain is not None and news.gain.is_open else ""
    return f"{news.before.mean:.2f} to {news.after.mean:.2f}{is_open}"


def _taken_in(row: ApproachRow) -> News | None:
    news = row.news
    return None if news is None or news.before is None or news.after is None else news


def _taken_in_by(row: ApproachRow) -> str:
    news = _taken_in(row)
    return "" if news is None else {"index": "indexing", "train": "training"}.get(news.how, "")


def _taken_in_s(row: ApproachRow) -> str:
    news = _taken_in(row)
    return "" if news is None else seconds(news.seconds)


def _rows_seen(row: ApproachRow) -> str:
    """Return the rows it read and was given: '16 of 70'; or the number of examples before each question."""
    if row.rows_seen is None:
        return NOT_KNOWN
    if not row.trains:
        return f"{counted(row.rows_seen, 'example')}" if row.rows_seen else "0"
    return f"{row.rows_seen:,}" if row.rows_given is None else f"{row.rows_seen:,} of {row.rows_given:,}"


def _loss(row: ApproachRow) -> str:
    return NOT_KNOWN if row.losses is None else f"{row.losses[0]:.2f} to {row.losses[1]:.2f}"


NAME: Column[ApproachRow] = Column("approach", lambda row: row.name, is_right=False)
LEAKED = Column("leaked", _leaked, is_optional=True)
SEEDS = Column("seeds", _seeds, is_optional=True)
VS_BEST = Column("vs best", _vs_best)
RETAINED: Column[ApproachRow] = Column("retained", lambda row: retained(row.retained)[0])
FORGOT: Column[ApproachRow] = Column("forgot?", lambda row: retained(row.retained)[1], is_right=False)
SET_UP: Column[ApproachRow] = Column("set-up", lambda row: seconds(row.setup_s))
GPU = Column("GPU", _gpu, is_optional=True)
PROMPT = Column("prompt", _prompt)
MEMORY = Column("memory", _memory)
NEW_FACTS = Column("new facts", _new_facts, is_right=False)
TAKEN_IN_BY = Column("by", _taken_in_by, is_right=False, in_files_alone=True)
TAKEN_IN = Column("taken in", _taken_in_s)
ROWS_SEEN = Column("rows seen", _rows_seen)
EPOCHS = Column("epochs", epochs)
LOSS = Column("loss", _loss)
