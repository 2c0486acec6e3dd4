"""The rows of check.target: questions with answers, of which the answer is scored, or texts, scored whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.data import sources
from finetop.core.data.formats import Text
from finetop.core.errors import BadData, BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Kind, Record
    from finetop.core.data.source_record import Seen
    from finetop.core.data.sources import Row
    from finetop.core.protocol.check_result import Metric
    from finetop.core.recipe.schema import Source, Target
    from finetop.core.runtime.home import Home

KINDS: Sequence[Kind] = ("conversation", "text")
LABELS = ("label", "labels", "class", "intent", "sentiment")  # keys of a text that name what it is
OF_TEXTS = "nats_per_token"  # the only metric that needs no question


def read(target: Target, source: Source, home: Home, seen: Seen | None = None) -> list[Row]:
    """Read the target's rows from its source. Raises BadInput, also for a metric that does not apply to them."""
    rows = sources.read(source, home, KINDS, seen)
    require_no_label(target, source, rows[0], home)
    require_metrics(target, rows[0].record)
    return rows


def require_no_label(target: Target, source: Source, row: Row, home: Home) -> None:
    """Refuse texts with a label: whether the label or the text is to be scored must be said. Raises BadData."""
    label = next((key for key in LABELS if key in row.unused), None)
    if not isinstance(row.record, Text) or source.columns or label is None:
        return
    as_label = sources.as_columns(source, home, ("conversation",))
    hint = f"Add to check.target: {as_label} to score the {label}"
    if {*target.metrics} <= {OF_TEXTS}:
        hint += ", or columns: {text: text} to score the text"
    raise BadData(f"{row.place}: has a text and its {label}; only the text would be scored.", hint=f"{hint}.")


def require_metrics(target: Target, record: Record) -> None:
    """Refuse a metric that does not apply to rows like this one: a text has no question. Raises BadInput."""
    if not isinstance(record, Text):
        return
    wrong: list[Metric] = [metric for metric in target.metrics if metric != OF_TEXTS]
    if wrong:
        text = f"check.target.metric is {wrong[0]}, but {Path(target.path).name} has plain texts, which have no prompt."
        hint = f"Set it to {OF_TEXTS}, or give rows with a prompt and its answer."
        raise BadInput(text, hint=hint)
