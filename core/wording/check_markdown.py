"""A check's result as Markdown: a comment for a pull request, with the verdict in the first line."""

from __future__ import annotations

import re

from finetop.core.protocol.check_result import CheckResult, Flip, worst_first
from finetop.core.text import clean_line
from finetop.core.wording.verdicts import further_lines, task_cells, verdict_line

FLIPS_SHOWN = 20
TASKS_SHOWN = 100  # GitHub limits a comment to 65,536 characters
TEXT_SHOWN = 120
SIGNS = {"ok": "✅", "regressed": "❌", "no_verdict": "⚪"}
# What Markdown or HTML would read as markup; @ would notify whoever has that name, # links an issue, and a URL
# becomes a link without any mark. Within a word _ is harmless, and so are an interval's brackets and an arrow.
_KEPT = r"(?P<kept>\[[+-]?[\d.]+, [+-]?[\d.]+\](?![(\[:])| ->(?= ))|"
_MARKUP = re.compile(
    _KEPT + r"[\\`*{}\[\]<>#!|~&@$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE
)


def markdown(name: str, result: CheckResult) -> str:
    """Return the verdict, tasks with intervals, further results, what was not measured, and the first changed items."""
    suite = f", suite {escape(result.suite)}" if result.suite else ""
    parts = [f"{SIGNS[result.verdict]} **{escape(verdict_line(result))}**", "", f"{escape(name)}{suite}", ""]
    if result.tasks:
        parts += [*_task_table(result), ""]
    parts += [f"- {escape(line)}" for line in further_lines(result)]
    unmeasured = [task.reason for task in result.tasks if task.reason]
    if unmeasured and result.verdict != "no_verdict":
        parts += ["", "Not measured:", "", *(f"- {escape(reason)}" for reason in unmeasured)]
    if result.claims:
        parts += ["", "Claimed:", "", *(f"- {escape(claim)}" for claim in result.claims)]
    if result.flips:
        parts += ["", *_flip_table(result)]
    return "\n".join(parts).rstrip() + "\n"


def escape(text: str, *, limit: int = 2000) -> str:
    """Escape outside text for Markdown, also in a table's cell: no markup, links, mentions or new lines."""

    def safe(match: re.Match[str]) -> str:
        return match[0] if match["kept"] else f"&#{ord(match[0])};"

    return _MARKUP.sub(safe, clean_line(text, limit=limit)).strip()


def span(text: str, *, limit: int = 2000) -> str:
    """Return outside text as a code span, in a fence longer than any inside it."""
    shown = clean_line(text, limit=limit).strip() or "-"
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", shown)), default=0))
    pad = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _task_table(result: CheckResult) -> list[str]:
    head = "|  | task | base | tuned | change | interval | lost | won | items |"
    lines = [head, "|:-:|:--|--:|--:|--:|--:|--:|--:|--:|"]
    for task in worst_first(result)[:TASKS_SHOWN]:
        mark, name, *numbers = task_cells(task, result.margin)
        lines.append(f"| {' | '.join([mark, escape(name), *numbers])} |")
    if (more := len(result.tasks) - TASKS_SHOWN) > 0:
        lines += ["", f"and {more} more tasks, which lost less."]
    return lines


def _flip_table(result: CheckResult) -> list[str]:
    """Return the first items that changed, in a collapsed table."""
    shown = result.flips[:FLIPS_SHOWN]
    of_all = f"{len(shown)} of {result.lost + result.won}" if result.lost + result.won > len(shown) else "the"
    return [
        f"<details><summary>{of_all} items that changed</summary>",
        "",
        "|  | task | item | question | base said | tuned said |",
        "|:--|:--|:--|:--|:--|:--|",
        *(_flip_row(flip) for flip in shown),
        "",
        "</details>",
    ]


def _flip_row(flip: Flip) -> str:
    question = flip.question if len(flip.question) <= TEXT_SHOWN else "…" + flip.question[1 - TEXT_SHOWN :]
    cells = ["lost" if flip.tuned < flip.base else "won"]
    for text in (flip.task, flip.item, question, flip.base_answer, flip.tuned_answer):
        cells.append(escape(text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"))
    return f"| {' | '.join(cells)} |"
