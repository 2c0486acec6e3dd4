"""Makes the pictures of README and docs/cockpit.md from a real home, after the demo and `finetop remedy demo-full-hot`.

python docs/screenshots.py [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core import protocol
from finetop.core.client import AsyncClient
from finetop.core.home import find_home
from finetop.tui.app import FinetopApp

if TYPE_CHECKING:
    from textual.pilot import Pilot

DOCS = Path(__file__).parent
SIZE = (100, 30)


class Anonymous(AsyncClient):
    """The real connection, without this machine's name."""

    async def ask(self, ask: protocol.Ask) -> Any:
        answer = await super().ask(ask)
        return (
            msgspec.structs.replace(answer, host="gpu-box")
            if isinstance(answer, protocol.HelloAnswer)
            else answer
        )


async def picture(pilot: Pilot[str], name: str) -> None:
    await pilot.pause(1.5)
    drawing = pilot.app.export_screenshot(title="finetop")
    # the fonts come from the reader's machine: no address in the file is asked
    (DOCS / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home")
    parser.add_argument("--run", default="demo-full-hot")
    args = parser.parse_args()
    app = FinetopApp(find_home(args.home), connect=Anonymous)
    async with app.run_test(size=SIZE) as pilot:
        await picture(pilot, "runs")
        app.open_run(args.run)
        await picture(pilot, "run")
        for _ in range(4):
            await pilot.press("tab")
        await picture(pilot, "check")
        app.open_triage(args.run)
        await picture(pilot, "triage")
        for key in ("right", "enter", "G", "enter"):
            await pilot.press(key)
            await pilot.pause(1.0)
        await picture(pilot, "item")
        app.open_compare(["demo-lora", args.run])
        await picture(pilot, "compare")
        await pilot.press("tab", "tab", "tab")
        await picture(pilot, "trade-off")
        app.open_remedies(args.run)
        await picture(pilot, "remedies")
        await pilot.press("3")
        await picture(pilot, "queue")
        await pilot.press("4")
        await picture(pilot, "launch")


if __name__ == "__main__":
    asyncio.run(main())
