"""150 bad inputs, each through its real entry: one line naming place, value and fix, and nothing left behind.

The examples are the tables of bad_inputs/; docs/bad-inputs.md shows them with their answers and is compared here
(`python tests/faults/bad_inputs/table.py` writes it).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from bad_inputs import checkpoints, environment, event_lines, names, payloads, rows, table, yaml_files
from bad_inputs.doors import Door, whole_checkpoint
from still import still

from finetop.core.errors import BadInput, FinetopError
from finetop.core.protocol.messages.runs import GetRun, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bad_inputs.example import Answer, Bad


def faults_of(bad: Bad, answer: Answer) -> Iterator[str]:
    """Return what an answer lacks."""
    lines = answer.text.splitlines()
    if answer.code != bad.code:
        yield f"the exit code is {answer.code}, not {bad.code}"
    if len(lines) != 1 or not answer.text.strip().isprintable():
        yield f"{len(lines)} lines"
    if "Traceback" in answer.text or "internal error" in answer.text:
        yield "a bug"
    for piece in bad.says:
        if piece not in answer.text:
            yield f"it does not say {piece!r}"


def require_good(told: list[tuple[Bad, Answer]]) -> None:
    wrong = [f"{b.what}: {why}: {a.text[:300]}" for b, a in told for why in faults_of(b, a)]
    assert not wrong, "\n".join(wrong)


def test_there_are_156_of_them():
    kinds = (event_lines, yaml_files, names, payloads, rows, checkpoints, environment)
    assert [len(kind.EXAMPLES) for kind in kinds] == [40, 36, 25, 20, 15, 10, 10]


def test_yaml_files(rig, tmp_path, survived):
    door = Door(tmp_path / "here", rig.home)
    answers = [(bad, door.yaml_file(bad)) for bad in yaml_files.EXAMPLES]
    require_good(answers)
    table.in_step(2, table.section("YAML files: recipes, settings, hosts", answers))
    assert rig.ask(Runs()).total == 0
    assert list(rig.home.runs.iterdir()) == []
    survived("21", "YAML files that are no recipes or settings", repeats=len(answers))


def test_names(rig, tmp_path, survived):
    door = Door(tmp_path / "here", rig.home)
    assert door.ask(["run", "good.yaml"]).code == 0
    rig.wait_state("good", "finished")
    before = set(tmp_path.rglob("*"))
    answers = [(bad, door.ask(bad.given)) for bad in names.EXAMPLES]
    require_good(answers)
    table.in_step(3, table.section("Names", answers))
    for name in names.REFUSED:
        with pytest.raises(BadInput) as refused:
            rig.submit(name)
        assert str(refused.value).isprintable(), name
        with contextlib.suppress(FinetopError):
            rig.ask(GetRun(name))
    assert not {path for path in set(tmp_path.rglob("*")) - before if "duckdb" not in path.name}
    assert rig.ask(Runs()).total == 1
    survived("22", "names on the command line, and of requests", repeats=len(answers) + len(names.REFUSED))


def test_rows(tmp_path, cold_rig, survived):
    door = Door(tmp_path / "here", cold_rig.home)
    answers = [(bad, door.row(bad)) for bad in rows.EXAMPLES]
    require_good(answers)
    table.in_step(5, table.section("Rows of data", answers))
    survived("21", "rows of data that can't be learned from", repeats=len(answers))


def test_environment(tmp_path, cold_rig, survived):
    door = Door(tmp_path / "here", cold_rig.home)
    answers = [(bad, door.ask(bad.given[1], **bad.given[0])) for bad in environment.EXAMPLES]
    require_good(answers)
    table.in_step(7, table.section("Variables of the environment", answers))
    assert not cold_rig.home.root.exists()
    assert sorted(path.name for path in door.folder.iterdir()) == ["good.yaml", "rows.jsonl"]
    survived("22", "variables that can't be", repeats=len(answers))


@pytest.fixture
def good_run(cold_rig):
    """A supervisor that has a run `good` with checkpoints of steps 10 and 20, and the run's folder."""
    rig = still(cold_rig.home.root)
    rig.run("good", (10, 20))
    rig.close()
    cold_rig.up()
    return cold_rig, next(cold_rig.home.runs.iterdir())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_checkpoints(good_run, tmp_path, tiny_model, survived):
    rig, folder = good_run
    whole = tmp_path / "whole"
    whole_checkpoint(whole, tiny_model)
    door = Door(tmp_path / "here", rig.home)
    place = folder / "checkpoints" / "step-000020"
    answers = [(bad, door.checkpoint(bad, whole, place, tiny_model)) for bad in checkpoints.EXAMPLES]
    require_good(answers)
    table.in_step(6, table.section("Checkpoints", answers))
    assert [job.verb for job in rig.ask(GetRun("good")).jobs] == ["train"]
    survived("31", "damaged checkpoints", repeats=len(answers))


def test_event_lines(quiet, cold_rig, tmp_path, survived):
    assert quiet.home == cold_rig.home
    for bad, detail, steps in table.lines_taken_in(quiet):
        assert (detail.jobs[0].bad_lines, steps, detail.row.step) == (1, [1, 2], 2), bad.what
        assert detail.checks == detail.checkpoints == detail.alarms == []
    quiet.close()
    cold_rig.up()
    answers = table.line_answers(Door(tmp_path / "here", cold_rig.home))
    require_good(answers)
    table.in_step(1, table.section("Event lines", answers))
    survived("9", "event lines that are none", repeats=len(answers), written=2 * len(answers))


def test_payloads(good_run, tmp_path, survived):
    rig, folder = good_run
    answers = table.payload_answers(
        Door(tmp_path / "here", rig.home), folder / "jobs" / "0001-train" / "log.txt"
    )
    assert [shown for _, shown in answers] == [payload.shown for payload in payloads.EXAMPLES]
    table.in_step(4, table.payload_section(answers))
    survived("20", "payloads in a log", repeats=len(answers))
