"""How commands print: tables that fit a terminal, and colours only on a terminal that has them."""

import io
import re
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import approach_fakes
import compare_fakes
import msgspec
import pytest
import remedy_fakes
import sweep_fakes
from queue_fakes import BUSY, WAITING
from tui_fakes import NOW, make_check, make_row
from typed import refuses

from finetop.core.commands import alarms, gpus, ls, methods, queue, recipe, rm, sql, suites, trash
from finetop.core.commands.main import parser_of, verbs
from finetop.core.commands.shared.output import print_table
from finetop.core.features.approaches.commands import approaches
from finetop.core.features.compare import compare_runs
from finetop.core.features.compare.commands import compare
from finetop.core.features.data_versions.commands import data
from finetop.core.features.data_versions.messages import DataVersion, DataVersionsAnswer
from finetop.core.features.demo.commands import demo
from finetop.core.features.diff.commands import diff
from finetop.core.features.remedies.commands import remedy
from finetop.core.features.sweeps.commands import sweep
from finetop.core.features.triage.commands import triage
from finetop.core.features.triage.messages import TriageAnswer, TriageCell, TriageRow
from finetop.core.protocol.data_diff import Origin
from finetop.core.protocol.messages.queue import QueueAnswer
from finetop.core.protocol.messages.runs import SqlAnswer
from finetop.core.protocol.messages.trash import Removed, TrashAnswer, Trashed
from finetop.core.protocol.run_filter import parse
from finetop.core.protocol.runs import CheckBrief, Failed, RunDetail, RunRow
from finetop.core.runtime.home import Home
from finetop.core.text import SafeWriter


class Terminal(io.StringIO):
    def isatty(self):
        return True


ROWS = [("a-run-with-a-name-that-is-long-s1", "1,200", "REGRESSED -9.1"), ("b", "20", "ok \x1b[31mevil")]


def printed(monkeypatch, out, **environment):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "43")
    monkeypatch.setattr(sys, "stdout", SafeWriter(out))
    print_table(("run", "step", "did it forget?"), ROWS, right=(1,))
    return out.getvalue()


def test_a_table_fits_the_terminal_a_long_name_has_its_own_line_and_verdicts_have_a_colour(monkeypatch):
    text = printed(monkeypatch, Terminal())
    assert "\x1b[31mREGRESSED -9.1\x1b[0m" in text
    assert "\x1b[32mok evil" in text, "what others wrote has no colour of its own"
    plain = printed(monkeypatch, Terminal(), NO_COLOR="1")
    assert plain == (
        "run                    step  did it forget?\n"
        "a-run-with-a-name-that-is-long-s1\n"
        "                      1,200  REGRESSED -9.1\n"
        "b                        20  ok evil\n"
    )
    piped = printed(monkeypatch, io.StringIO())  # all of it, without colours
    assert "\x1b" not in piped and ROWS[0][0] in piped


def test_help_is_in_groups_and_a_word_that_is_like_no_command_is_sent_there(command):
    code, out, _ = command("--help")
    lines = out.splitlines()
    assert code == 0
    assert lines.index("run") < lines.index("watch") < lines.index("check") < lines.index("maintenance")
    assert max(map(len, lines[6:-2])) <= 80
    refuses(command, {"foo": "finetop --help"})


def test_words_are_cut_before_a_number_then_columns_go_and_the_last_one_wraps(monkeypatch):
    rows = [
        ("a-long-name", "lora", "FAILED at step 1,200", "REGRESSED -20.0 on core, as proven on 412 items")
    ]
    heads = ("run", "how", "state", "did it forget?")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", SafeWriter(out))
    monkeypatch.setenv("NO_COLOR", "1")
    for width in (60, 50):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(heads, rows, prose=(2,), drop=(1,))
    assert out.getvalue() == (
        "run          how   state            did it forget?\n"
        "a-long-name  lora  FAILED at step…  REGRESSED -20.0 on core,\n"
        "                                    as proven on 412 items\n"
        "run          state        did it forget?\n"
        "a-long-name  FAILED at …  REGRESSED -20.0 on core,\n"
        "                          as proven on 412 items\n"
        "Too narrow for how: a pipe has them (| cat).\n"
    )


ARGUED = re.compile(r"\S*\d\S*|\S+[-_@/]\S+")  # numbers, and names that one may have to type


def check_of(verdict: str, drop: float) -> CheckBrief:
    return make_check(verdict, drop, suite="core" if drop > 10 else "quick")


def long_runs() -> list[RunRow]:
    names = ("qwen3-8b-instruct-support-replies-lr2e-5-rank64-seed2", "sql-qlora-70b", "x" * 80)
    checks = (check_of("regressed", 20.04), check_of("ok", -0.4), check_of("no_verdict", 112.5))
    failed = Failed(
        NOW - 300, "out of memory while the optimizer was made", "Lower train.batch_size.", NOW - 900, 1
    )
    return [
        make_row(at, name, failed, check=check, step=120_000, steps=1_200_000)
        for at, (name, check) in enumerate(zip(names, checks, strict=True), 1)
    ]


def long_triage() -> TriageAnswer:
    rows = [
        TriageRow(
            row.id, row.name, "m", "lora", 1, row.check.verdict, row.check.drop, 3.0, "core", NOW,
            [TriageCell(22.0 + at, "lost") for at in range(9)], 1200, 1200,
        )
        for row in long_runs()
    ]  # fmt: skip
    return TriageAnswer(rows, [f"long_task_{at}" for at in range(9)], 3, 3, 3, 0, 0, 0, [], 0)


def of_triage(tasks: int | None) -> None:
    triage.print_table_of_runs(Namespace(json=False, tasks=tasks, filter=""), long_triage())


NAMES = [row.name for row in long_runs()]
MADE_OF = Origin("/home/some-one/faq-of-support-2025.jsonl", "f", "difficulty", 200, 412)


def long_versions() -> DataVersionsAnswer:
    path = "/home/some-one/support-replies-of-2025-cleaned-deduplicated.jsonl"
    rows = [
        DataVersion(path, "", None, 3, "abcdef12", 1_234_567, NOW, 12, 14, NAMES, NOW, MADE_OF, 1),
        DataVersion("org/questions-and-answers", "train", 1000, 1, "123456ab", 412, NOW, 1, 1, ["tone"], NOW),
    ]
    return DataVersionsAnswer(rows, 2)


def joined_task(task: str, filter_: str, only: int) -> dict[str, object]:
    counts = {
        "joined": 12_345,
        "only_base": only,
        "only_tuned": only,
        "other_prompt": only,
        "other_target": only,
    }
    return {
        "task": task,
        "metric": "exact_match",
        "filter": filter_,
        **counts,
        "no_score": only,
        "left_out": False,
    }


def many_runs(count: int) -> list[RunDetail]:
    """Return runs to compare, of names that are long and of three other verdicts."""
    three = list(compare_fakes.three().details.values())
    names = [*NAMES, *(f"{NAMES[0]}-{at}" for at in range(count))][:count]
    return [
        msgspec.structs.replace(run := three[at % 3], row=msgspec.structs.replace(run.row, name=name))
        for at, name in enumerate(names)
    ]


def print_comparison(runs: list[RunDetail]) -> None:
    differing = compare_runs.differences(compare_runs.settings_of(runs))
    compare.print_comparison(runs, differing, compare_runs.outcomes(runs, NOW))


VERBS = {
    "ls": lambda: ls.print_rows(long_runs(), [], parse(""), (), 3),
    "ls --columns": lambda: ls.print_rows(long_runs(), [], parse(""), ("train.learning_rate", "note"), 3),
    "triage --tasks": lambda: of_triage(9),
    "remedy": lambda: remedy.print_answer(remedy_fakes.after(), "demo-full-hot"),
    "sweep": lambda: sweep.print_sweep(sweep_fakes.by_rate()),
    "approaches": lambda: approaches.print_answer(approach_fakes.measured()),
    "queue": lambda: queue.print_queue(QueueAnswer(WAITING, 4, ["one"])),
    "gpus": lambda: gpus.print_answer(BUSY),
    "demo": lambda: demo.print_both([("demo-lora", row) for row in long_runs()[:2]]),
    "methods": lambda: methods.run(Namespace(name=None, json=False), None),
    "recipe": lambda: recipe.run(Namespace(what=None, json=False, set=[], all=False, markdown=False), None),
    "suites": lambda: suites.run(Namespace(suite="core", json=False, fetch=False, recipe=None), Home(Path("nowhere"))),
    "alarms": lambda: print_table(
        alarms.HEAD, [("3 h", "x" * 80, "regressed", "1,200", "lost 20.0 points (limit 3.0) " * 4)], right=(0, 3)
    ),
    "data": lambda: data.print_versions(long_versions()),
    "diff": lambda: diff.print_joined(
        [joined_task("mmlu_professional_law_and_more", "strict-match", 123), joined_task("arc", "none", 0)]
    ),
    "sql": lambda: sql.print_rows(
        SqlAnswer(["id", "name", "verdict", "at"], [[1, name, "regressed", NOW] for name in NAMES], False)
    ),
    "trash": lambda: trash.print_trash(
        TrashAnswer([Trashed(123_456, name, "x", NOW - 10**8, 10**11) for name in NAMES])
    ),
    "rm": lambda: rm.print_removed([Removed(123_456, name, 10**11, 12_345, 120) for name in NAMES]),
    "clean": lambda: print_table(
        ("what", "", "size", "why"), [("checkpoint", f"{'x' * 80}/120", "12.4 GB", "not of the last 3")], right=(2,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_and_nothing_that_one_types_is_cut_on_a_terminal_and_nothing_in_a_pipe(
    monkeypatch, capsys, verb, width
):
    VERBS[verb]()
    piped = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    VERBS[verb]()
    text = out.getvalue()
    missing = Counter(ARGUED.findall(piped)) - Counter(ARGUED.findall(text))
    assert set(missing) <= ({"120,000/1,200,000", "0.982"} if "pipe has them" in text else set())
    assert set(ARGUED.findall(text)) <= set(ARGUED.findall(piped)), "half a number is another number"


@pytest.mark.parametrize("verb", ["data", "diff", "trash", "rm", "queue", "ls", "sweep"])
@pytest.mark.parametrize("width", [80, 120])
def test_only_a_name_on_a_line_of_its_own_is_wider_than_the_terminal(monkeypatch, verb, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    VERBS[verb]()
    assert too_long(out.getvalue(), width) == []


def too_long(text: str, width: int) -> list[str]:
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    return [line for line in lines if len(line) > width and len(line.split()) > 1]


@pytest.mark.parametrize(("count", "width"), [(2, 80), (3, 80), (9, 70), (9, 80), (9, 120)])
def test_compare_has_letters_for_names_without_room_and_its_rows_do_not_fold(
    monkeypatch, capsys, count, width
):
    runs = many_runs(count)
    print_comparison(runs)
    piped = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    print_comparison(runs)
    text = out.getvalue()
    lines = text.splitlines()
    names = [run.row.name for run in runs]
    assert [f"{letter}  {name}" for letter, name in zip("ABCDEFGHI", names, strict=False)] == lines[:count]
    assert not any(line.startswith(" ") for line in lines), "no row goes on below itself"
    cells = (word for word in ARGUED.findall(piped) if word.rstrip(",") not in names)
    assert not Counter(cells) - Counter(ARGUED.findall(text))
    assert max(map(len, lines[count:])) <= width


def test_diff_at_80_columns_does_without_reasons_that_hold_for_no_item(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    diff.print_joined([joined_task("arc", "none", 0), joined_task("hellaswag", "none", 0)])
    lines = out.getvalue().splitlines()
    assert lines[1].split() == ["arc", "exact_match", "none", "12345", "0", "0", "0", "0"]
    assert len(lines) == 4 and lines[3].startswith("Too narrow for other prompt: ")


def test_triage_folds_the_tasks_that_have_no_room_as_the_app_does(monkeypatch, capsys):
    monkeypatch.setenv("NO_COLOR", "1")
    for width, tasks in ((160, 6), (120, 4), (80, 1), (60, 0)):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", out := Terminal())
        of_triage(None)
        head = out.getvalue().splitlines()[1].split()
        assert head[:2] == ["run", "all"] and f"+{9 - tasks}" in head and len(head) == 4 + tasks, head


@pytest.mark.parametrize("verb", verbs())
def test_help_fits_80_columns_and_breaks_no_word(monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    narrow = parser_of(verb).format_help()
    assert max(map(len, narrow.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "1000")
    assert narrow.split() == parser_of(verb).format_help().split()
