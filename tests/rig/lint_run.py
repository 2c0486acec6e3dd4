"""Lint in this process, on rows that are written to a file: what it finds in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_run import write_rows

from finetop.core.features.lint import lint as linting
from finetop.core.features.lint.report import Finding, Given, LintRequest, Report
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home

Say = Callable[[str, float, float], None]  # phase, done, total


def lint(
    home: Path, *paths: Path, test: Path | None = None, say: Say = lambda *_: None, **asked: Any
) -> Report:
    given = [Given("train", {"path": str(path)}) for path in paths]
    given += [Given("test", {"path": str(test)})] if test is not None else []
    return linting.run(LintRequest(tuple(given), **asked), Home(home), say)


def lint_recipe(folder: Path, text: str, **asked: Any) -> Report:
    """Lint the data of a recipe that extends another, in its folder."""
    recipe = resolve_text(f"recipe: 1\n{text}", (), folder).resolved
    return linting.run(LintRequest(recipe=recipe, **asked), Home(folder), lambda *_: None)


def findings_in(folder: Path, *rows: Any, test: tuple[Any, ...] = (), **asked: Any) -> dict[str, Finding]:
    """Return the last finding of each name in the rows of a.jsonl, and of t.jsonl for its test."""
    test_file = write_rows(folder / "t.jsonl", test) if test else None
    report = lint(folder, write_rows(folder / "a.jsonl", rows), test=test_file, **asked)
    return {finding.name: finding for finding in report.findings}
