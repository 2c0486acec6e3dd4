"""Launch: a comparison of approaches from the form, confirmed with its number of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from approach_fakes import ComparingSupervisor, measured
from tui_fakes import ROW, asked, make_app, pressed, settled, shown_app, text_of

from finetop.core.features.approaches.messages import SubmitApproaches
from finetop.tui.screens.approaches.screen import ApproachesScreen
from finetop.tui.screens.launch.screen import LaunchScreen

RECIPE = """recipe: 1
name: kb
extends: lora
data: {train: [{path: faq.jsonl}]}
approaches: {only: [prompt, few-shot, retrieval, lora], seeds: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "faq.jsonl").write_text(ROW * 40)
    (tmp_path / "test.jsonl").write_text(ROW * 4)
    target = "check: {target: {path: test.jsonl, metric: exact_match}}\n"
    (tmp_path / "kb.yaml").write_text(RECIPE + target)
    (tmp_path / "none.yaml").write_text(RECIPE.replace("name: kb", "name: none"))
    return tmp_path


async def opened(pilot: Any, recipe: str) -> None:
    await pressed(pilot, "4")
    screen = pilot.app.screen
    assert isinstance(screen, LaunchScreen)
    screen.state.base_at = [base.title for base in screen.state.bases].index(recipe)
    screen._open_base()
    await settled(pilot)


async def test_c_asks_with_how_many_runs_then_queues_them_and_shows_the_comparison(folder: Path) -> None:
    fake = ComparingSupervisor(measured())
    async with shown_app(make_app(fake, folder)) as (app, pilot):
        await opened(pilot, "kb.yaml")
        assert "C compare approaches" in text_of(app)
        await pressed(pilot, "C", within_s=0.5)
        assert "Compare 3 approaches: queue 4 runs?  Not retrieval" in text_of(app)
        await pilot.press("escape")
        assert not asked(fake, SubmitApproaches)
        await pressed(pilot, "C", within_s=0.5)
        await pressed(pilot, "y", within_s=0.5)
        (request,) = asked(fake, SubmitApproaches)
        assert [run.name for run in request.runs] == ["kb-few-shot", "kb-prompt", "kb-lora-s1", "kb-lora-s2"]
        assert (request.name, request.metric, list(request.left_out)) == ("kb", "exact_match", ["retrieval"])
        assert isinstance(app.screen, ApproachesScreen)
        assert "3 runs are queued, 1 earlier run reused." in text_of(app)
        # without a target it says what is missing
        fake.asked.clear()
        await opened(pilot, "none.yaml")
        assert "C compare approaches" not in text_of(app)
        await pressed(pilot, "C", within_s=0.3)
        assert "check.target is not set" in text_of(app)
        assert not asked(fake, SubmitApproaches)
