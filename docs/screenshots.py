"""Makes the pictures of README and docs from real homes.

python docs/screenshots.py [--home DIR] [--comparison DIR NAME] [--sweep DIR NAME] [--any-trainer DIR NAME]

--home has run the demo and `finetop remedy demo-full-hot`; the others have a comparison of approaches, a sweep, and the
run of docs/any-trainer.md.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.terminal_theme import SVG_EXPORT_THEME

from finetop.core.client.connection import AsyncClient
from finetop.core.features.approaches.messages import ApproachesAnswer
from finetop.core.protocol.messages.session import HelloAnswer
from finetop.core.protocol.request import Ask
from finetop.core.runtime.home import find_home
from finetop.tui.app import FinetopApp
from finetop.tui.palette import PALETTES
from finetop.tui.theme import Look

if TYPE_CHECKING:
    from textual.pilot import Pilot

DOCS = Path(__file__).parent
SIZE = (120, 40)
LOOK = Look("dark")
GROUND = PALETTES[LOOK.colours].ground


class Anonymous(AsyncClient):
    """The real connection, without this machine's name."""

    async def ask(self, ask: Ask) -> Any:
        answer = await super().ask(ask)
        if isinstance(answer, HelloAnswer):
            return msgspec.structs.replace(answer, host="gpu-box")
        if isinstance(answer, ApproachesAnswer):
            return msgspec.structs.replace(answer, model=Path(answer.model).name)
        return answer


async def picture(pilot: Pilot[str], name: str, shows: str) -> None:
    """Save the screen as SVG once it shows a text and has loaded."""
    for _ in range(40):
        await pilot.pause(1.5)
        drawing = pilot.app.export_screenshot(title="finetop")
        text = re.sub(r"<[^>]*>", "", drawing).replace("&#160;", " ")
        if shows in text and "loading …" not in text:
            break
    else:
        sys.exit(f"{name}: it never showed {shows}")
    # use the reader's fonts: the file must not fetch any address
    drawing = re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL)
    (DOCS / f"{name}.svg").write_text(drawing.replace(SVG_EXPORT_THEME.background_color.hex, GROUND))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home")
    parser.add_argument("--run", default="demo-full-hot")
    parser.add_argument("--comparison", nargs=2, metavar=("DIR", "NAME"))
    parser.add_argument("--sweep", nargs=2, metavar=("DIR", "NAME"))
    parser.add_argument("--any-trainer", nargs=2, metavar=("DIR", "NAME"))
    args = parser.parse_args()
    if args.home is not None or not (args.comparison or args.sweep or args.any_trainer):
        await story(args.home, args.run)
    for kind in ("comparison", "sweep"):
        if (given := getattr(args, kind)) is not None:
            await together(kind, *given)
    if args.any_trainer is not None:
        await of_command(*args.any_trainer)


async def story(home: str | None, run: str) -> None:
    """Save each screen for a run that forgot."""
    app = FinetopApp(find_home(home), connect=Anonymous, machine="gpu-box", look=LOOK)
    async with app.run_test(size=SIZE) as pilot:
        await picture(pilot, "runs", f" {run} ─")
        app.open_run(run)
        await picture(pilot, "run", "log, newest")
        for _ in range(4):
            await pilot.press("tab")
        await picture(pilot, "check", "McNemar")
        app.open_triage(run)
        await picture(pilot, "triage", "worst first")
        for key in ("right", "enter"):
            await pilot.press(key)
            await pilot.pause(1.0)
        await picture(pilot, "item", "question")
        app.open_compare(["demo-lora", run])
        await picture(pilot, "compare", "recipe differences")
        await pilot.press("tab", "tab", "tab")
        await picture(pilot, "trade-off", "against")
        app.open_remedies(run)
        await picture(pilot, "remedies", "half-way")
        await chat(pilot, run)
        await pilot.press("3")
        await picture(pilot, "queue", "at a time")
        await pilot.press("4")
        await picture(pilot, "launch", "first row")


async def chat(pilot: Pilot[str], run: str) -> None:
    """Put two questions to the base and to a run's model, and save the screen once both have answered both."""
    app = pilot.app
    assert isinstance(app, FinetopApp)
    app.open_chat(run)
    await pilot.pause(2.0)
    for question in ("What is the capital of France?", "My order never turned up, what now?"):
        await pilot.press(*("space" if letter == " " else letter for letter in question), "enter")
        for _ in range(200):
            await pilot.pause(1.0)
            if app.export_screenshot().count("tok/s") == 2:
                break
        await picture(pilot, "chat", "tok/s")
        await pilot.press("escape", "n")  # a new conversation
    await pilot.press("escape", "escape")


async def together(kind: str, home: str, name: str) -> None:
    """Save the screen of a comparison or a sweep."""
    app = FinetopApp(find_home(home), connect=Anonymous, machine="gpu-box", look=LOOK)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(1.0)
        if kind == "sweep":
            app.open_sweep(name)
        else:
            app.open_approaches(name)
        await picture(pilot, kind, name)


async def of_command(home: str, run: str) -> None:
    """Save the screen of a run that another program trained."""
    app = FinetopApp(find_home(home), connect=Anonymous, machine="gpu-box", look=LOOK)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(1.0)
        app.open_run(run)
        await picture(pilot, "any-trainer", "log, newest")


if __name__ == "__main__":
    asyncio.run(main())
