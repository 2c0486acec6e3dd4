"""The recipe tab of the Run screen: the first row with its learned part, row counts of the data, and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from finetop.core.errors import FinetopError
from finetop.core.features.compare import compare_runs
from finetop.core.features.data_versions.messages import SourceFacts
from finetop.core.protocol.runs import DataRow, RunDetail
from finetop.core.recipe.dotted import flat_texts
from finetop.core.text import clean_line, count, counted
from finetop.tui.screens.run.data import version_lines
from finetop.tui.text import Line, cut_middle, labelled, leaf, rule
from finetop.tui.theme import StyleName

_LABEL = 10  # cells
_OF_THE_FILE = ("recipe", "name", "about", "extends")  # settings that do not affect training
_FIRST_ROW = 8  # most rows for each part of the first row


def recipe_lines(
    detail: RunDetail, width: int, known: Sequence[SourceFacts] = (), *, is_whole: bool
) -> list[Line]:
    """Return the tab: the data, and the settings that differ from the built-in recipe, or all of them."""
    lines: list[Line] = []
    if detail.first_row:
        aside: Line = (("learned part in bold", "dim"),)
        lines.append(rule((("first row as the model sees it", ""),), width, aside))
        for text, is_learned in detail.first_row:
            style: StyleName = "bold" if is_learned else ""
            label = "learned" if is_learned else "read"
            lines += labelled(label, text.strip("\n"), width, cells=_LABEL, rows=_FIRST_ROW, style=style)
    if detail.data:
        versions = version_lines(detail, known, width, _LABEL)
        lines += [rule((("data", ""),), width), *data_lines(detail, width), *versions, *plan_line(detail)]
    name, base = base_of(detail)
    if base is None or is_whole:
        turn: Line = (("v", "key"), (f" what differs from {name}", "dim")) if base is not None else ()
        lines.append(rule((("all settings, with defaults", ""),), width, turn))
        return [*lines, *settings_lines(compare_runs.settings_of([detail])[0], width)]
    turn = (("v", "key"), (" all", "dim"))
    lines.append(rule(((f"settings that differ from the recipe {name}", ""),), width, turn))
    return [*lines, *_differing_lines(detail.recipe, base, name, width)]


def base_of(detail: RunDetail) -> tuple[str, dict[str, Any] | None]:
    """Return the name and settings of the built-in recipe that a run extends; None if there is none."""
    name = detail.recipe.get("extends")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]+", name):
        return "", None
    return name, _built_in(name)


@lru_cache(maxsize=8)
def _built_in(name: str) -> dict[str, Any] | None:
    from finetop.core.recipe.load import load_recipe

    try:
        return load_recipe(name, (), Path("/nonexistent")).resolved
    except FinetopError:
        return None  # a recipe of another finetop version


def _differing_lines(recipe: dict[str, Any], base: dict[str, Any], name: str, width: int) -> list[Line]:
    theirs = flat_texts(base)
    settings = [(key, text) for key, text in flat_texts(recipe).items() if key not in _OF_THE_FILE]
    differing = [(key, text) for key, text in settings if theirs.get(key, "null") != text]
    if not differing:
        return [((f" none: same as {name}", "dim"),)]
    name_width = min(34, max(len(key) for key, _ in differing))
    lines: list[Line] = []
    for key, text in differing:
        rows = _setting_lines(key, text, width, name_width, "bold")
        if len(rows) == 1 and key in theirs:
            rows = [(*rows[0], (f"   {name}: {theirs[key]}", "dim"))]
        lines += rows
    return lines


def data_lines(detail: RunDetail, width: int) -> list[Line]:
    """Return for each source how many rows are used, dropped or truncated."""
    return [_source_line(source, width) for source in detail.data]


def _source_line(source: DataRow, width: int) -> Line:
    name = cut_middle(leaf(source.source), max(12, width - 62))
    numbers = f"  {counted(source.rows, 'row')}, {count(source.kept)} kept"
    losses: Line = ()
    if source.dropped:
        losses = (*losses, (f", {count(source.dropped)} dropped", "bold"))
    if source.truncated:
        losses = (*losses, (f", {count(source.truncated)} cut short", "bold"))
    longest = f"; longest {counted(source.longest_tokens, 'token')}" if source.longest_tokens else ""
    return ((f" {'data':<{_LABEL - 1}}", "dim"), (name, ""), (numbers, ""), *losses, (longest, "dim"))


def plan_line(detail: RunDetail) -> list[Line]:
    """Return the length of the run and the share of trained parameters."""
    planned = detail.planned
    if not planned.get("steps"):
        return []
    epochs = planned.get("epochs", 0)
    text = f"{counted(round(planned['steps']), 'step')}, {epochs:g} epoch{'' if epochs == 1 else 's'}"
    if rows := round(planned.get("rows", 0)):  # not known for a model made elsewhere
        text += f" over {counted(rows, 'row')}"
    learns, whole = planned.get("trainable_parameters"), planned.get("parameters")
    if learns and whole:
        text += f"; {learns / 1e6:,.1f} of {whole / 1e6:,.0f} M parameters trained"
    return [((f" {'plan':<{_LABEL - 1}}", "dim"), (text, ""))]


def settings_lines(recipe: Mapping[str, Any], width: int) -> list[Line]:
    """Return all settings as `section.name  value`, in the recipe's order."""
    settings = flat_texts(recipe)
    name_width = min(34, max((len(name) for name in settings), default=0))
    return [line for key in settings.items() for line in _setting_lines(*key, width, name_width)]


def _setting_lines(key: str, text: str, width: int, name_width: int, style: StyleName = "") -> list[Line]:
    label = cut_middle(clean_line(key), name_width)
    return labelled(label, text, width, cells=name_width + 3, rows=3, style=style)
