"""The app with other machines: the location shown, unreachable machines, one list of several, who is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machine_fakes import Linked, app_on, two
from tui_fakes import (
    NOW,
    FakeSupervisor,
    asked,
    make_row,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.machine import LookAhead
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.runs import Finished, Running
from finetop.tui.connection.machines import Machine, top_words, trouble_words
from finetop.tui.text import line_width


async def test_the_top_row_says_where_and_the_lost_link_keeps_everything_on_the_screen() -> None:
    lab = Linked("lab", mixed_rows())
    async with shown_app(app_on(lab), (100, 24)) as (app, pilot):
        assert "● 4  GPU 4/4  on lab (gpu-box-3)  14:22" in text_of(app).splitlines()[0]
        before = text_of(app).splitlines()[1:12]
        lab.down()
        await settled(pilot, 0.1)
        assert "on lab reconnecting" in text_of(app).splitlines()[0]
        assert "✗ NO LINK to lab since 14:22, reconnecting. Numbers are from then. Timeout" in text_of(app)
        assert text_of(app).splitlines()[1:12] == before
        await pressed(pilot, "f")
        assert "not connected to lab: the request was not sent." in text_of(app)
        await pressed(pilot, "j")
        assert "next  R  reconnect now" in text_of(app)
        await pressed(pilot, "R")
        assert lab.link.tries >= 1
        lab.up()
        lab.change()
        await settled(pilot, 0.3)
        assert "NO LINK" not in text_of(app)
        assert "reconnecting" not in text_of(app)
        assert asked(lab, Check) == []
        lab.leave()  # a supervisor that is gone there is not a broken link
        await settled(pilot, 0.1)
        assert "✗ NO SUPERVISOR on lab since 14:22" in text_of(app)
        assert "next  R  restart it" in text_of(app)


@pytest.mark.slow
async def test_several_machines_are_one_list_with_a_host_column_that_outlives_a_lost_one() -> None:
    lab, box = two()
    here = FakeSupervisor([make_row(3, "mine", Finished(NOW - 9, NOW - 5))])
    async with shown_app(app_on(lab, box, here=here), (120, 40)) as (app, pilot):
        assert "on lab, box, here  14:22" in text_of(app).splitlines()[0]
        assert "17 total" in text_of(app)
        assert row_with(app, "mine").strip("│").split()[1:3] == ["mine", "here"]
        rows = [line for line in text_of(app).splitlines() if "support-r16" in line]
        assert {line.strip("│").split()[2] for line in rows[:2]} == {"lab", "box"}
        for width, height in ((80, 24), (60, 20), (120, 40)):
            await pilot.resize_terminal(width, height)
            await settled(pilot)
            assert "host" in row_with(app, "did it forget?")
            assert "REGRESSED" in text_of(app)
            assert all(len(line) <= width for line in text_of(app).splitlines())
        # one that is away keeps its rows, and the others go on
        lab.down()
        await settled(pilot, 0.1)
        box.change([make_row(1, "support-r16", Running(NOW - 5), step=31, steps=40), *box.rows[1:]])
        await settled(pilot, 2.2)
        assert "31/40" in text_of(app)
        assert "support-full-1e-4" in text_of(app)
        await pressed(pilot, "o", within_s=0.2)
        assert "support-full-1e-4" in text_of(app)


async def test_a_run_is_queued_on_the_machine_that_is_chosen_and_keys_act_on_that_of_the_run(
    tmp_path: Path,
) -> None:
    lab, box = two()
    async with shown_app(app_on(lab, box, folder=tmp_path)) as (app, pilot):
        await pressed(pilot, "n", within_s=0.3)
        assert "no plan yet: R asks which machine to run on (lab, box)" in text_of(app)
        await pressed(pilot, "R")
        assert "On which machine?" in text_of(app)
        assert "1 lab   2 box   esc cancel" in text_of(app)
        await pressed(pilot, "2", within_s=0.2)
        (submitted,) = asked(box, Submit)
        assert ":" not in submitted.name
        assert "builtin:demo/support_train.jsonl" in json.dumps(submitted.recipe)
        assert not asked(lab, Submit)
        await pressed(pilot, "slash", *"r16", "enter", within_s=0.2)
        names = [line for line in text_of(app).splitlines() if "support-r16" in line and "--" not in line]
        assert len(names) >= 2
        for _ in range(2):
            await pressed(pilot, "S", "y")
            await pressed(pilot, "j")
        assert [ask.run for ask in lab.asked if isinstance(ask, Stop)] == ["support-r16"]
        assert [ask.run for ask in box.asked if isinstance(ask, Stop)] == ["support-r16"]
        await pressed(pilot, "enter")
        assert ":support-r16" in text_of(app).splitlines()[1]
        await pressed(pilot, "escape")
        await pressed(pilot, "q")
    words = "4 trainings, 1 check keep running. To return: finetop --on ana@lab --on ana@box"
    assert app.return_value == words


async def test_a_form_for_another_machine_is_planned_there(tmp_path: Path) -> None:
    """The model and data are there, so that machine's supervisor plans the run and nothing is read here."""
    recipe = "recipe: 1\nextends: lora\nname: mine\ndata: {train: [{path: %s}]}\n"
    (tmp_path / "mine.yaml").write_text(recipe % "/there/faq.jsonl")
    lab = Linked("lab", mixed_rows())
    async with shown_app(app_on(lab, folder=tmp_path)) as (app, pilot):
        await pressed(pilot, "4", "k", within_s=1.0)
        shown = text_of(app)
        assert "fits: 6.2 of 80 GiB on H100" in shown and "812 rows" in shown
        assert "⟦Ahoy!⟧" in shown
        requests = asked(lab, LookAhead)
        assert requests[-1].recipe["data"]["train"][0]["path"] == "/there/faq.jsonl"
        await pressed(pilot, "L")
        assert "the data is on another machine: finetop lint checks it there." in text_of(app)
        lab.down()
        await pressed(pilot, "enter", "j", "j", "j", "enter", "1", "enter", within_s=1.0)
        assert "no plan from lab: not connected to lab" in text_of(app)
    # data that is not there is refused in words
    (tmp_path / "mine.yaml").write_text(recipe % "rows.jsonl")
    lab = Linked("lab", mixed_rows())
    async with shown_app(app_on(lab, folder=tmp_path), (160, 40)) as (app, pilot):
        await pressed(pilot, "4", within_s=0.3)
        await pressed(pilot, "g", "R", within_s=0.2)
        assert f"lab has no {tmp_path}/rows.jsonl"[:60] in text_of(app)
        assert not asked(lab, Submit)


def test_the_top_row_always_fits() -> None:
    machines = [Machine(Linked(f"machine-{number}", []).home) for number in range(9)]
    machines[3].is_lost = True
    for width in range(0, 160, 7):
        assert line_width(top_words(machines, width)) <= max(width, 0)
        assert line_width(top_words(machines[:1], width)) <= max(width, 0)
    assert "".join(text for text, _ in top_words(machines, 40)) == "on 9 machines, 1 lost"


def test_what_ssh_says_is_cleaned() -> None:
    lab = Linked("lab", [])
    machine = Machine(lab.home, is_lost=True, lost_at=NOW)
    lab.link.is_up = False
    lab.link.why_down = lambda: "can't reach lab: \x1b]0;evil\x07\u202eTimeout\x00"  # type: ignore[method-assign]
    assert trouble_words([machine]).endswith("from then. <202E>Timeout")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("is_down", [False, True], ids=["together", "one-away"])
def test_picture(snap_compare: Any, size: tuple[int, int], is_down: bool) -> None:
    lab, box = two()

    async def before(pilot: Any) -> None:
        await settled(pilot)
        if is_down:
            lab.down()
        await settled(pilot, 0.3)

    assert snap_compare(app_on(lab, box), terminal_size=size, run_before=before)
