"""Launch previews the plan, the data and the first row of a real small model, in a separate process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from machine_fakes import make_plan
from tui_fakes import ROW, FakeSupervisor, asked, pressed, row_with, settled, text_of
from waiting import TORCH_LIMIT_S, until

from finetop.core.errors import BadInput
from finetop.core.plan.result import Fix, Shown
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home, prepare
from finetop.tui.app import FinetopApp
from finetop.tui.screens.launch import plan_preview
from finetop.tui.screens.launch.form import edited, file_base, open_form
from finetop.tui.screens.launch.pane import FIXED, code_line, pane_lines, plan_lines
from finetop.tui.screens.launch.plan_preview import UNKNOWN, Outlook, Preview, local_preview, updated
from finetop.tui.screens.launch.state import LaunchState
from finetop.tui.screens.launch.sweep import checked_all, swept
from finetop.tui.text import line_width

GIB = 2**30


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "mine.yaml").write_text("recipe: 1\nextends: lora\ndata: {train: [{path: faq.jsonl}]}\n")
    return folder


def recipe_of(model: Path, data: str = "faq.jsonl") -> str:
    return f"recipe: 1\nextends: lora\nmodel: {{id: {model}}}\ndata: {{train: [{{path: {data}}}]}}\n"


def view_of(folder: Path, outlook: Outlook, **edits: str) -> LaunchState:
    dotted = {key.replace("__", "."): text for key, text in edits.items()}
    form = open_form(file_base(folder / "mine.yaml"), dotted)
    state = LaunchState(form, part="settings", preview=Preview(40, False, "user: Hello?"))
    state.ahead.outlook = outlook
    return state


def words(view: LaunchState, width: int = 80, height: int = 8) -> str:
    lines = pane_lines(view, width, height)
    assert len(lines) == height
    assert all(line_width(line) <= width + 1 for line in lines[3:])
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_memory_time_data_and_the_first_row_are_said(folder: Path) -> None:
    row = (("<|user|>\nHello?\n<|assistant|>\n", False), ("Ahoy there!", True), ("\n", False))
    shown = words(view_of(folder, Outlook(make_plan(), row)))
    assert "✓ fits: 6.2 of 80 GiB on H100" in shown
    assert "203 steps, about 9 min, then a check on quick (limit 3)" in shown
    assert "812 rows, 3 over 1,024 tokens dropped, longest 912" in shown
    assert "<|user|> Hello? <|assistant|> ⟦Ahoy there!⟧" in shown
    long = (("long " * 200, False), ("learned " * 50, True))
    tall = words(view_of(folder, Outlook(make_plan(), long)), height=11)
    assert "⟦learned learned" in tall  # the learned part is visible, wherever it starts
    assert tall.count("…") == 2


def test_what_does_not_fit_says_what_would(folder: Path) -> None:
    fix = Fix(text="train.batch_size 1", sets=("train.batch_size=1",), need=4.0 * GIB)
    outlook = Outlook(make_plan(verdict="no", need=90.0 * GIB, fix=fix, time=None))
    shown = words(view_of(folder, outlook))
    assert "✗ does NOT fit: 90 of 80 GiB on H100; fits with train.batch_size 1" in shown
    assert "203 steps, then a check" in shown


def test_a_sweep_is_told_as_a_whole(folder: Path) -> None:
    view = view_of(folder, Outlook(make_plan()))
    form = checked_all(edited(swept(view.form, "train.seed", is_swept=True), "train.seed", "1, 2, 3"))
    (_, line) = plan_lines(replace(view, form=form), 80)
    assert line[0][0] == " 3 runs: about 27 min in all, each 9 min, then a check on quick (limit 3)"


def test_without_a_plan_the_reason_stands_there_and_findings_come_one_by_one(folder: Path) -> None:
    trouble = "model.id: other/model is not on this machine\x1b[31m; a plan downloads nothing."
    outlook = updated(replace(UNKNOWN, is_asked=True), Shown(trouble=trouble))
    shown = words(view_of(folder, outlook))
    assert "about 4 steps of 16 rows, then a check on quick" in shown
    assert "model.id: other/model is not on this machine" in shown
    assert "\x1b" not in shown
    assert "planning …" in shown
    assert FIXED == 6


def test_a_model_s_own_code_is_a_red_line_of_its_own(folder: Path) -> None:
    assert code_line(view_of(folder, UNKNOWN)) == ()
    line = code_line(view_of(folder, UNKNOWN, model__trust_remote_code="true"))
    assert [style for _, style in line] == ["red"]


async def test_the_process_ends_with_whoever_listens(tmp_path: Path) -> None:
    recipe = resolve_text("recipe: 1\nextends: lora\n").resolved

    async def listen() -> None:
        async with aclosing(local_preview(recipe, tmp_path, row=True)) as findings:
            async for _ in findings:
                raise AssertionError("it says something before it has begun")

    before = set(children())
    task = asyncio.create_task(listen())
    await until(lambda: set(children()) - before, "a process begins")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(children()) == before


@pytest.mark.slow  # it loads torch, as the test below does
async def test_what_only_the_job_s_own_code_refuses_is_said_last(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_text(ROW * 40)
    text = recipe_of(tiny_model, f"{tmp_path}/faq.jsonl")
    recipe = resolve_text(text + "method: {name: lora, target_modules: [no_such_module]}\n").resolved
    async with aclosing(local_preview(recipe, tmp_path, row=True)) as findings:
        previews = [shown async for shown in findings]
    assert previews[0].plan is not None and previews[1].row
    assert "no_such_module" in previews[-1].trouble and previews[-1].plan is None


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


@pytest.mark.slow
async def test_the_app_finds_out_what_a_run_comes_to_without_waiting_for_it(
    folder: Path, tiny_model: Path, app_at_home: FinetopApp, warm: str
) -> None:
    (folder / "mine.yaml").write_text(recipe_of(tiny_model))
    app = app_at_home
    async with app.run_test(size=(100, 30)) as pilot:
        await pressed(pilot, "4", "k", but_threads=True)
        assert "⟦" not in text_of(app)
        async with asyncio.timeout(TORCH_LIMIT_S):
            while "⟦Ahoy!" not in text_of(app):
                await settled(pilot, 0.3)
        assert "40 rows" in text_of(app)
        assert "fits:" in text_of(app)
        await settled(pilot, 0.5)
        assert "planning …" not in text_of(app)


async def test_what_the_job_would_refuse_stands_beside_its_setting_and_is_not_queued(
    folder: Path, tiny_model: Path, fake: FakeSupervisor, app_at_home: FinetopApp
) -> None:
    (folder / "faq.jsonl").write_text(ROW * 40 + '{"messages": []}\n')
    (folder / "mine.yaml").write_text(recipe_of(tiny_model))
    app = app_at_home
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("4", "k")
        async with asyncio.timeout(TORCH_LIMIT_S):
            while "fix 1 setting: data" not in text_of(app):
                await settled(pilot, 0.3, but_threads=True)
        assert "faq.jsonl:41" in row_with(app, "data  ")
        await pressed(pilot, "R", but_threads=True)
        assert "not queued: faq.jsonl:41: messages must be" in text_of(app)
        assert not asked(fake, Submit)


async def test_what_is_not_found_out_yet_is_asked_for_before_it_is_queued(
    folder: Path, tiny_model: Path
) -> None:
    text = recipe_of(tiny_model, f"{folder}/faq.jsonl")
    home = Home(folder / "home")
    prepare(home)
    host: Any = None  # the local machine needs no host
    await plan_preview.require_sound(host, home, resolve_text(text))
    (folder / "faq.jsonl").write_text(ROW * 40 + '{"messages": []}\n')
    with pytest.raises(BadInput, match=r"^faq\.jsonl:41: messages must be a list of turns\."):
        await plan_preview.require_sound(host, home, resolve_text(text))
