"""e saves what is shown, y copies what the cursor is on; neither does anything unasked."""

from __future__ import annotations

import base64
import csv
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from PIL import Image
from run_fakes import make_run_app, regressed, training
from tui_fakes import (
    FakeSupervisor,
    make_app,
    make_row,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.features.report.page import Chart, Line, Table
from finetop.core.protocol.runs import Finished
from finetop.tui.save import Sheet
from finetop.tui.save.prompt import written
from finetop.tui.terminal.clipboard import LIMIT, copying
from finetop.tui.widgets.app_screen import filled

if TYPE_CHECKING:
    from pathlib import Path


def listening(app: Any) -> list[str]:
    """Record what is written to the terminal besides frames."""
    heard: list[str] = []
    write = app._driver.write

    def hear(text: str) -> None:
        if "\x1b]" in text:
            heard.append(text)
        write(text)

    app._driver.write = hear
    return heard


async def test_the_list_and_the_screen_are_saved_whole_and_never_written_over_unasked(tmp_path: Path) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path)) as (app, pilot):
        await pressed(pilot, "e")
        assert "save as runs.csv" in text_of(app) and "save; the extension sets the format" in text_of(app)
        await pressed(pilot, "enter")
        assert row_with(app, "saved: ").split()[1][:10] == str(tmp_path)[:10]
        with (tmp_path / "runs.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(mixed_rows()) and rows[0]["run"] == "support-full-1e-4"
        assert rows[0]["change"] == "-9.1" and rows[0]["loss"] == "0.9821" and rows[1]["state"] == "failed"
        (tmp_path / "runs.csv").write_text("mine")
        await pressed(pilot, "e")
        await pilot.press("enter")
        assert "runs.csv already exists." in text_of(app)
        await pilot.press("escape")
        assert (tmp_path / "runs.csv").read_text() == "mine"
        await pressed(pilot, "e")
        await pressed(pilot, "enter", "y")
        assert (tmp_path / "runs.csv").read_text() != "mine"
        # the screen itself is a picture without an address
        await pressed(pilot, "question_mark", "e")
        await pilot.press("enter")
        text = (tmp_path / "keys.svg").read_text()
        ET.fromstring(text)
        assert "@font-face" not in text and "url(http" not in text and "retraining" in text


async def test_what_can_not_be_written_is_said_while_it_is_typed_and_tab_completes_a_folder_s_name(
    tmp_path: Path,
) -> None:
    reasons = {"x.doc": "the extension must be .csv", "none/x.csv": "no such folder"}
    reasons |= {"~nobody.here/x.csv": "no such user", "": "type a name that ends in"}
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path), (120, 30)) as (app, pilot):
        for name, said in reasons.items():
            await pressed(pilot, "e")
            await pilot.press("ctrl+u", *({"/": "slash", ".": "full_stop"}.get(key, key) for key in name))
            await pilot.press("enter")
            assert said in text_of(app)
            assert list(tmp_path.iterdir()) == []
            await pressed(pilot, "escape")
        for name in ("results/may", "results/march"):
            (tmp_path / name).mkdir(parents=True)
        await pressed(pilot, "e")
        assert "tab complete" in text_of(app)
        await pilot.press("ctrl+u", "r", "tab", "tab")
        assert "save as results/ma" in text_of(app) and "march/  may/" in text_of(app)
        await pressed(pilot, "y", "tab", *"x.csv", "enter")
        assert (tmp_path / "results" / "may" / "x.csv").is_file()


async def test_charts_are_saved_as_pictures_and_as_points(tmp_path: Path) -> None:
    app = make_run_app(training())
    app.folder = tmp_path
    app._first_run = "support-r16"
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, 0.2)
        await pressed(pilot, "e")
        await pilot.press("enter")
        picture = ET.parse(tmp_path / "support-r16-metrics.svg").getroot()
        assert len(picture.findall("{*}svg")) >= 2 and "loss" in "".join(picture.itertext())
        await pressed(pilot, "e")
        await pilot.press(*["backspace"] * 3, "c", "s", "v", "enter")
        with (tmp_path / "support-r16-metrics.csv").open(newline="") as file:
            points = list(csv.DictReader(file))
        await pressed(pilot, "e")
        await pilot.press(*["backspace"] * 3, "p", "n", "g", "enter")
        with Image.open(tmp_path / "support-r16-metrics.png") as painted:
            assert painted.format == "PNG" and painted.width == 2 * int(float(picture.attrib["width"]))
        losses = [float(point["mean"]) for point in points if point["curve"] == "loss"]
        assert len(losses) > 40 and losses[0] > losses[-1] > 1.0
        for tab in ("log", "samples", "recipe", "check", "steps"):
            await pressed(pilot, "tab", "e")
            await pilot.press("enter")
            assert list(tmp_path.glob(f"support-r16-{tab}.*")), tab


async def test_copying_happens_on_the_key_alone() -> None:
    app = make_run_app(regressed())
    app._first_run = "support-r16"
    async with shown_app(app) as (app, pilot):
        heard = listening(app)
        await pilot.press("tab", "tab", "down")
        assert heard == []
        await pilot.press("ctrl+y")
        assert heard == [f"\x1b]52;c;{base64.b64encode(b'support-r16').decode()}\x07"]
        assert "copied: support-r16" in text_of(app)


async def test_pressed_again_it_copies_the_command_of_what_is_next() -> None:
    evil = make_row(90, "x\n\x1b]0;owned\x07rm -rf /\x9b2J\r", Finished(1.0, 2.0))
    async with shown_app(make_app(FakeSupervisor([*mixed_rows(), evil]))) as (app, pilot):
        heard = listening(app)
        await pilot.press("y")
        assert "copied: support-full-1e-4   y again: finetop remedy support-full-1e-4" in text_of(app)
        await pilot.press("y")
        assert "copied: finetop remedy support-full-1e-4   y again: support-full-1e-4" in text_of(app)
        await pilot.press("y", "j", "y")  # another key starts over
        copies = [base64.b64decode(sequence[7:-1]).decode() for sequence in heard]
        run = "support-full-1e-4"
        assert copies == [run, f"finetop remedy {run}", run, "sql-lora-70b"]
        app.say("wrote lora.yaml. To queue it: finetop run lora.yaml")
        await pilot.press("y")
        assert "copied: finetop run lora.yaml" in text_of(app)
        # a hostile name is copied as it is shown
        await pressed(pilot, "G", "y")
        text = base64.b64decode(heard[-1][7:-1]).decode()
        assert "rm -rf" in text and not re.search("[\x00-\x1f\x7f-\x9f]", text)


def test_a_command_is_filled_with_what_is_known() -> None:
    for command, words, made in [
        ("finetop check RUN[@STEP]", {"RUN": "a", "STEP": "20"}, "finetop check a@20"),
        ("finetop check RUN[@STEP]", {"RUN": "a", "STEP": ""}, "finetop check a"),
        ("finetop flips RUN [--task TASK]", {"RUN": "a b", "TASK": "$(x)"}, "finetop flips 'a b' --task '$(x)'"),
        ("finetop flips RUN [--task TASK]", {"RUN": "a"}, "finetop flips a"),
        ("finetop accept RUN --reason TEXT", {"RUN": "a"}, "finetop accept a --reason TEXT"),
    ]:  # fmt: skip
        assert filled(command, words) == made


async def test_launch_copies_the_command_that_queues_the_form(tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    async with shown_app(make_app(FakeSupervisor([]), tmp_path)) as (app, pilot):
        await pressed(pilot, "4", "enter", "enter", *"faq.jsonl", "enter", within_s=0.4)
        heard = listening(app)
        await pilot.press("y")
        (sent,) = [base64.b64decode(sequence[7:-1]).decode() for sequence in heard]
        assert sent == "finetop run lora --set 'data.train=[{path: \"faq.jsonl\"}]'"


def test_what_is_copied_has_a_size() -> None:
    text = "é" * LIMIT
    sequence = copying(text)
    assert base64.b64decode(sequence[7:-1]).decode() == "é" * (LIMIT // 2 - 2) + "…"
    assert copying("\x1b]52;c;AA==\x07") == "\x1b]52;c;\x07"


def test_no_cell_of_a_table_is_a_formula() -> None:
    cells = ("=1+1", "@cmd", "+x", "-y", "-9.1", "+0.4", "1e-05", "-", 'a,b\n"c"', "\x1b[2Jx")
    sheet = Sheet("x", (Table(tuple("abcdefghij"), (cells,)),))
    rows = list(csv.reader(written(sheet, ".csv", "").decode().splitlines(keepends=True)))
    assert rows[1] == ["'=1+1", "'@cmd", "'+x", "'-y", "-9.1", "+0.4", "1e-05", "-", 'a,b\n"c"', "x"]
    chart = Chart("x", (Line("=x", (0.0, 1.0), (1.0, 0.5)),), 1)
    assert written(Sheet("x", (), (chart,)), ".csv", "").decode().splitlines()[1] == "'=x,0,1,1,1"
