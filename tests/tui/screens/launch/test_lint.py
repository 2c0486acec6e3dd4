"""Launch lints a recipe's data in a separate process, and shows a summary and a report page."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tui_fakes import ROW, pressed, settled, text_of
from waiting import TORCH_LIMIT_S

from finetop.core.features.lint.report import Finding, Lengths, LintMessage, Progress, Report, Trouble
from finetop.core.recipe.load import resolve_text
from finetop.tui.app import FinetopApp
from finetop.tui.screens.launch.lint import NOT_LINTED, Linted, LintScreen, lint_words, report_key, updated
from finetop.tui.screens.launch.screen import LaunchScreen

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def report_of(*findings: Finding) -> Report:
    lengths = Lengths("estimated", 9, 8, 8, 1, 2, 3, 4, 5)
    return Report((), 40, lengths, findings, (), 0.1)


def said(linted: Linted) -> str:
    return "".join(text for text, _ in lint_words(linted))


def test_few_words_say_how_far_it_is_and_what_was_found() -> None:
    far = updated(NOT_LINTED, LintMessage(progress=Progress("reading rows", 30, 120)))
    assert said(far) == "checking the data, 25 % "
    assert updated(far, LintMessage(progress=Progress("comparing", 1, 2))) == far
    error = Finding("empty", "answers that are empty", "error", 2, 40, "Why.")
    note = Finding("labels", "labels", "note", 2, 40, "Why.")
    assert said(Linted(report_of(error, note))) == "data: 2 findings, 1 error  L details "
    assert said(Linted(report_of(note))) == "data: 1 finding  L details "
    assert said(Linted(report_of())) == "data: ✓ nothing found "
    assert "no such file" in said(updated(far, LintMessage(trouble=Trouble("a.jsonl: no such file.", "", 2))))


def test_a_report_is_of_the_data_as_they_lie_there_now(tmp_path: Path) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text(ROW)
    text = "recipe: 1\nextends: lora\ndata: {train: [{path: faq.jsonl}]}\n"
    before = report_key(resolve_text(text, (), tmp_path).resolved)
    assert report_key(resolve_text(text, ["train.epochs=9"], tmp_path).resolved) == before
    assert report_key(resolve_text(text, ["data.max_tokens=99"], tmp_path).resolved) != before
    os.utime(file, ns=(1, 1))
    assert report_key(resolve_text(text, (), tmp_path).resolved) != before


async def test_the_pane_sums_up_and_the_page_reads_all(
    folder: Path, app_at_home: FinetopApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetop.tui.screens.launch.lint.PAUSE_S", 0.0)
    (folder / "faq.jsonl").write_text(ROW * 40 + ROW.replace("Ahoy!", ""))
    app = app_at_home
    async with app.run_test(size=(80, 24)) as pilot:
        await pressed(pilot, "4", "k", but_threads=True)
        await pressed(pilot, "L", but_threads=True)
        assert isinstance(app.screen, LaunchScreen)
        async with asyncio.timeout(TORCH_LIMIT_S):
            while "L details" not in text_of(app):
                await settled(pilot, 0.2)
        assert "1 error" in text_of(app)
        await pressed(pilot, "L", "n")
        assert isinstance(app.screen, LintScreen)
        assert "▸✗ answers that are empty: 1 row (2.4 %)  [empty]" in text_of(app)
        assert "faq.jsonl:41" in text_of(app)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, LaunchScreen)
        assert "next  L  read the data findings: 1 error" in text_of(app), "rather than to queue it"
