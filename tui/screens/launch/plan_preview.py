"""What is known of a run before it is queued: its file at a glance; its plan and first row from another process.

For a run on another machine, that machine's supervisor finds this out, because model, data and GPUs are there.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.client.remote.recipe_files import portable_recipe
from finetop.core.data import files
from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.machine import LookAhead, LookAheadAnswer
from finetop.core.runtime.child import answer_lines
from finetop.tui.screens.launch.form import Problem, field_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from finetop.core.plan.result import Plan, Problem as Found, Shown
    from finetop.core.recipe.load import Loaded
    from finetop.core.runtime.home import Home
    from finetop.tui.app_interface import Host
    from finetop.tui.screens.launch.form import Form

PAUSE_S = 0.4  # pause after the form's own check, before a process is started
_LARGEST = 200 << 20  # bytes; the rows of a larger file are estimated
_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known so far."""

    plan: Plan | None = None
    row: tuple[tuple[str, bool], ...] = ()  # empty if it can't be rendered
    trouble: str = ""  # why there is no plan
    problems: tuple[Found, ...] = ()  # the errors that the run's job would end with
    is_asked: bool = False  # more findings are to come


UNKNOWN = Outlook()


def updated(outlook: Outlook, shown: Shown) -> Outlook:
    """Return the outlook after one more finding."""
    if shown.row is not None:
        return replace(outlook, row=tuple(shown.row))
    return replace(outlook, plan=shown.plan, trouble=shown.trouble, problems=shown.problems)


def with_problems(form: Form, outlook: Outlook) -> Form:
    """Return a valid form with the problems its run would end with, each at its setting."""
    if form.problems or form.loaded is None:
        return form
    problems = [
        Problem(_setting(form, problem.key), problem.message, f"{problem.message} {problem.hint}".strip())
        for problem in outlook.problems
    ]
    return replace(form, problems=tuple(problems))


def _setting(form: Form, key: str) -> str:
    """Return the form's setting at which a problem of a whole section is shown."""
    keys = [entry.key for entry in form.settings]
    at = field_of(form, key)
    of_section = (setting for setting in keys if setting.startswith(f"{key}."))
    return at if at in keys else next(of_section, "data.train")


def row_key(recipe: Mapping[str, Any]) -> str:
    """Return a key of what the first row depends on; rendering takes seconds, so it is redone only if this changes."""
    return repr((recipe["model"], recipe["data"]["train"], recipe["objective"]))


class Ahead:
    """Finds out what a form comes to, once per recipe; the first row only if it would differ."""

    def __init__(self) -> None:
        self.outlook = UNKNOWN
        self._recipe: Mapping[str, Any] = {}  # the recipe that `outlook` is about
        self._row_of = ""

    def is_of(self, recipe: Mapping[str, Any]) -> bool:
        return recipe == self._recipe

    async def find(self, loaded: Loaded, host: Host) -> AsyncGenerator[None]:
        """Find out what a recipe comes to after a pause in typing, and yield at each finding."""
        recipe = loaded.resolved
        if loaded.recipe.command is not None:
            self._recipe, self.outlook = recipe, UNKNOWN
            return
        self._recipe, key = recipe, row_key(recipe)
        if key != self._row_of:
            self.outlook = replace(self.outlook, row=())
        home, *others = host.homes
        if others:
            names = ", ".join(machine.label for machine in host.homes)
            self.outlook = Outlook(trouble=f"no plan yet: R asks which machine to run on ({names})")
            return
        if home.link is None and not home.root.is_dir():
            self.outlook = UNKNOWN  # no supervisor was ever here
            return
        await asyncio.sleep(PAUSE_S)
        self.outlook = replace(self.outlook, is_asked=True)
        yield
        async with aclosing(_preview(host, home, loaded, row=key != self._row_of)) as findings:
            async for shown in findings:
                self.outlook = updated(self.outlook, shown)
                if shown.row is not None:
                    self._row_of = key
                yield
        self.outlook = replace(self.outlook, is_asked=False)
        yield


def _preview(host: Host, home: Home, loaded: Loaded, *, row: bool) -> AsyncGenerator[Shown]:
    if home.link is None:
        return local_preview(loaded.resolved, home.root, row=row)
    return remote_preview(host, home, portable_recipe(loaded, home), row=row)


async def remote_preview(
    host: Host, home: Home, recipe: Mapping[str, Any], *, row: bool
) -> AsyncGenerator[Shown]:
    """Ask another machine's supervisor for the plan, and with `row` for the first row."""
    from finetop.core.plan.result import Shown

    try:
        answer: LookAheadAnswer = await host.ask_aside(home, LookAhead(dict(recipe), row))
    except FinetopError as error:
        yield Shown(trouble=f"no plan from {home.label}: {error}")
        return
    for finding in answer.findings:
        yield msgspec.convert(finding, Shown)


async def local_preview(recipe: Mapping[str, Any], home: Path, *, row: bool) -> AsyncGenerator[Shown]:
    """Yield the plan, the first row if `row`, and errors of the job's own code, from a process that ends with this."""
    from finetop.core.plan.result import Shown

    request = msgspec.json.encode({"recipe": recipe, "row": row, "rehearse": True})
    async with aclosing(answer_lines("finetop.core.client.plan_preview", str(home), asked=request)) as lines:
        async for line in lines:
            yield msgspec.json.decode(line, type=Shown)


async def require_sound(host: Host, home: Home, loaded: Loaded) -> None:
    """Check that a run's job would not fail on something known before it is queued. Raises BadInput, Refused."""
    if loaded.recipe.command is not None or (home.link is None and not home.root.is_dir()):
        return  # another program is started as it is; or no supervisor was ever here
    async with aclosing(_preview(host, home, loaded, row=False)) as findings:
        async for shown in findings:
            if shown.problems:
                from finetop.core.plan.result import as_error

                raise as_error(shown.problems[0])
            return


@dataclass(frozen=True, slots=True)
class Preview:
    """What a quick look at a data file shows: its rows, and the first one."""

    rows: int
    is_estimate: bool
    first: str


NOTHING = Preview(0, False, "")


def preview_of(path: str) -> Preview:
    """Count the rows of a .jsonl file and read the first; NOTHING for other or unreadable files. Runs in a thread."""
    if files.type_of(path) != files.USUAL:
        return NOTHING
    try:
        with Path(path).open("rb") as file:
            first = file.readline(_LINE)
            size = Path(path).stat().st_size
            if size > _LARGEST:
                return Preview(size // max(1, len(first)), True, _words(first))
            file.seek(0)
            rows = sum(1 for line in file if line.strip())
    except (OSError, ValueError):
        return NOTHING
    return Preview(rows, False, _words(first))


def _words(line: bytes) -> str:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(row, dict):
        return ""
    if isinstance(row.get("messages"), list):
        turns = [turn for turn in row["messages"] if isinstance(turn, dict)]
    else:
        turns = [{"role": key, "content": row[key]} for key in ("prompt", "completion", "text") if key in row]
    return "   ".join(f"{turn.get('role', '')}: {_flat(turn.get('content'))}" for turn in turns)


def _flat(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(_flat(part.get("content") if isinstance(part, dict) else part) for part in content)
    return str(content) if content is not None else ""
