"""The columns of the remedies for a run: what each keeps of the gain, and what it forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from finetop.core.features.remedies import wording
from finetop.core.features.remedies.messages import RemediesAnswer
from finetop.core.protocol.runs import RemedyRow
from finetop.core.wording.columns import Column, exact
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import change_of

REMEDY: Column[RemedyRow] = Column("remedy", lambda row: row.label, is_right=False, is_prose=True)
NAME: Column[RemedyRow] = Column("name", lambda row: row.name, is_right=False)
RETAINED, FORGOT = "retained", "forgot?"  # titles
GAIN, WORST_GAIN = "gain kept", "gain kept (worst metric)"


def table(answer: RemediesAnswer) -> list[Column[RemedyRow]]:
    """Return the table of remedies: one without numbers has its status instead of a verdict."""
    letters = {row.name: letter for letter, row in wording.lettered(answer.rows)}

    def retained(row: RemedyRow) -> str:
        return wording.retained(row, answer.margin) if _is_measured(row) else ""

    def forgot(row: RemedyRow) -> str:
        return wording.verdict(row) if _is_measured(row) else wording.how(answer, row)

    return [
        Column("", partial(wording.star, answer), is_right=False),
        Column("", lambda row: letters.get(row.name, ""), is_right=False),
        REMEDY,
        Column(
            answer.metric or "target", lambda row: wording.target(answer, row) if _is_measured(row) else ""
        ),
        Column(WORST_GAIN if wording.has_several(answer) else GAIN, _gain),
        Column(RETAINED, retained, is_right=False),
        Column(FORGOT, forgot, is_right=False),
        NAME,
    ]


def _is_measured(row: RemedyRow) -> bool:
    return bool(row.target) or row.drop is not None


def _gain(row: RemedyRow) -> str:
    share = f"{wording.gain(row)} {metric_words(wording.gain_metric(row))}".rstrip()
    return share if _is_measured(row) else ""


def in_file(answer: RemediesAnswer) -> list[Column[RemedyRow]]:
    """Return all that is known of remedies: each metric, bound and number of items in a column of its own."""
    return [
        *(REMEDY, NAME, Column("settings", _settings, is_right=False)),
        Column(FORGOT, lambda row: row.verdict, is_right=False),
        *(_of_metric(metric, metric, lambda row: row.target) for metric in answer.base),
        *(_of_metric(f"{GAIN} by {metric}", metric, lambda row: row.kept) for metric in answer.base),
        Column(WORST_GAIN, lambda row: exact(row.gain)),
        Column("change", lambda row: _points(row.drop)),
        Column("lowest", lambda row: _points(row.decided and row.decided[1])),
        Column("highest", lambda row: _points(row.decided and row.decided[0])),
        Column("items", lambda row: str(row.items_used or "")),
        Column("of", lambda row: str(row.items_total or "")),
        Column("confirmed", lambda row: row.confirmation, is_right=False),
        Column("change on fresh items", lambda row: _points(row.fresh_drop)),
        Column("fresh items", lambda row: str(row.fresh_used or "")),
        Column("alpha", lambda row: exact(row.alpha or None)),
        Column("why not", _why_not, is_right=False),
    ]


def _of_metric(
    title: str, metric: str, numbers: Callable[[RemedyRow], Mapping[str, float]]
) -> Column[RemedyRow]:
    return Column(title, lambda row: exact(numbers(row).get(metric)))


def _settings(row: RemedyRow) -> str:
    return " ".join(f"{key}={value}" for key, value in row.settings.items())


def _points(drop: float | None) -> str:
    return "" if drop is None else change_of(drop)


def _why_not(row: RemedyRow) -> str:
    return row.why_not or (row.reason if row.verdict in ("failed", "unchanged") else "")
