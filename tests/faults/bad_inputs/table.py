"""Writes docs/bad-inputs.md: every example with its answer. Run it when an answer was changed on purpose.

python tests/faults/bad_inputs/table.py
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "rig"), str(Path(__file__).parents[1])]

from bad_inputs import event_lines, payloads, yaml_files
from bad_inputs.doors import Door, take_in
from bad_inputs.example import Answer, Bad

from finetop.core.store import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bad_inputs.payloads import Payload
    from still import Still

    from finetop.core.protocol.runs import RunDetail

PAGE = Path(__file__).parents[3] / "docs" / "bad-inputs.md"
HEAD = """# Bad inputs, and what finetop says

Every one of these goes through its real door in `tests/faults/test_bad_inputs.py`: a line that names the place, the
value and what to do; exit code 2, or 4 where it is the environment's. Nothing is queued, nothing is lost, nothing is
left behind. `python tests/faults/bad_inputs/table.py` writes this page from the answers.
"""
COLLECT = "FINETOP_BAD_INPUTS"  # a folder that the tests put the page's sections into
Told = list[tuple[Bad, Answer]]


def lines_taken_in(made: Still) -> Iterator[tuple[Bad, RunDetail, list[int]]]:
    """Ingest each line between two good ones: the run as the store has it then, and the steps of its metrics."""
    for number, bad in enumerate(event_lines.EXAMPLES, 1):
        detail = take_in(made, f"line-{number}", bad.given)
        steps = metrics.steps(made.supervisor.connection, detail.row.id, after=-1, limit=100)
        yield bad, detail, [step_row.step for step_row in steps]


def line_answers(door: Door) -> Told:
    """Show each run: its messages about the lines."""
    answers = []
    for number, bad in enumerate(event_lines.EXAMPLES, 1):
        answer = door.ask(["show", f"line-{number}"])
        said = [line.strip() for line in answer.text.splitlines() if "could not be read" in line]
        answers.append((bad, Answer(answer.code, "\n".join(said))))
    return answers


def payload_answers(door: Door, log: Path) -> list[tuple[Payload, str]]:
    """Use each payload as a run's log, and show it."""
    answers = []
    for payload in payloads.EXAMPLES:
        log.write_text(payload.text + "\n")
        said = door.ask(["tail", "good", "--log", "--no-follow", "-n", "1000000"]).text
        answers.append((payload, said.removesuffix("\n")))
    return answers


def section(title: str, told: Told) -> str:
    """Return a class of examples as a table."""
    made = [f"## {title}", "", "| what | given | answer | exit |", "|---|---|---|--:|"]
    for bad, answer in told:
        cells = (bad.what, code(given(bad)), answer.text.strip().removeprefix("finetop: "), str(answer.code))
        made.append(f"| {' | '.join(cell(one) for one in cells)} |")
    return "\n".join(made) + "\n"


def payload_section(told: Sequence[tuple[Payload, str]]) -> str:
    made = ["## Terminal payloads", "", "| what | given | shown |", "|---|---|---|"]
    for payload, shown in told:
        cells = (payload.what, code(payload.text), code(shown))
        made.append(f"| {' | '.join(cell(one) for one in cells)} |")
    return "\n".join(made) + "\n"


def given(bad: Bad) -> object:
    """Return what a reader needs of an example."""
    match bad.given:
        case ({} as variables, list() as words):
            return " ".join([*(f"{key}={value}" for key, value in variables.items()), "finetop", *words])
        case list() as words:
            return " ".join(["finetop", *words])
        case (str() as door, damage) if callable(damage):
            return {
                "resume": "finetop resume good@20",
                "trainer": "the job resumes",
                "model": "a job loads it",
            }[door]
        case (str(), str() | bytes() as text):
            return text.removeprefix(yaml_files.HEAD) if isinstance(text, str) else text
        case other:
            return other


def code(value: object) -> str:
    """Format an input as code on one line, at most 90 characters."""
    shown = repr(value).removeprefix("b")[1:-1].replace("\\'", "'")
    shown = re.sub(r"(.{1,3}?)\1{30,}", lambda run: f"{run[1] * 3}…", shown)
    shown = shown if len(shown) <= 90 else f"{shown[:89]}…"
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`" if shown else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def in_step(number: int, made: str) -> None:
    """Check that the page has this section unchanged; when writing the page, store the section."""
    if folder := os.environ.get(COLLECT):
        (Path(folder) / f"{number}").write_text(made, encoding="utf-8")
        return
    assert made in PAGE.read_text(encoding="utf-8"), f"{PAGE} is not in step (see table.py):\n{made}"


def main() -> int:
    """Run all examples through the tests themselves, and write the page from the answers."""
    import pytest

    tests = Path(__file__).parents[1] / "test_bad_inputs.py"
    with tempfile.TemporaryDirectory() as folder:
        os.environ[COLLECT] = folder
        failed = pytest.main(["-q", "-n", "0", str(tests)])
        sections = [file.read_text(encoding="utf-8") for file in sorted(Path(folder).iterdir())]
    if not failed:
        PAGE.write_text("\n".join([HEAD, *sections]), encoding="utf-8")
        print(f"{PAGE}: {sum(part.count(chr(10) + '| ') - 1 for part in sections)} examples")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
