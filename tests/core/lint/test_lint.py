"""Lint from the command line: what it reads, what it finds, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetop.core.commands.main import main
from finetop.core.data import render, source_record
from finetop.core.errors import BadData, BadInput
from finetop.core.lint import lines, lint as linting
from finetop.core.lint.findings import load, names
from finetop.core.lint.report import Given, LintRequest, Report
from finetop.core.lint.report_text import report_lines
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.schema import Source
from finetop.core.runtime.home import Home

GOOD = {"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "It is two."}]}
EMPTY = {"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": ""}]}


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def lint(home: Path, *paths: Path, **asked: Any) -> Report:
    sources = tuple(Given("train", {"path": str(path)}) for path in paths)
    return linting.run(LintRequest(sources, **asked), Home(home), lambda *_: None)


def test_bad_rows_are_findings_and_the_rest_is_still_read(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl",
        GOOD,
        b"not json",
        b"[1]",
        b"",
        EMPTY,
        b'{"x": 1}',
        b"\xff\xfe",
        b"[" * 9999,
        GOOD,
    )
    report = lint(tmp_path, file, only=("unreadable", "empty"))
    assert report.rows == 8
    unreadable, empty = report.findings
    assert unreadable.places == ("a.jsonl:2", "a.jsonl:3", "a.jsonl:6", "a.jsonl:7", "a.jsonl:8")
    assert sum(unreadable.kinds.values()) == unreadable.count == 5
    assert empty.places == ("a.jsonl:5",)


def test_a_line_of_more_than_8_mib_is_a_finding_and_one_that_never_ends_is_not_read_to_its_end(
    tmp_path: Path,
) -> None:
    huge = b'{"text": "' + b"x" * (9 << 20) + b'"}'
    report = lint(tmp_path, write(tmp_path / "a.jsonl", GOOD, huge, GOOD))
    assert [finding.places for finding in report.findings if finding.name == "unreadable"] == [("a.jsonl:2",)]
    assert report.sources[0].bytes == (tmp_path / "a.jsonl").stat().st_size
    with (tmp_path / "hole.jsonl").open("wb") as file:
        file.truncate(1 << 40)
    read = lines.opened(Source(path=str(tmp_path / "hole.jsonl")), "train")
    with pytest.raises(BadData, match=r"hole\.jsonl:1: the line goes on for more than 256 MiB"):
        list(lines.blocks(read, 0, 0, Home(tmp_path), lambda rows: None))


def test_workers_see_what_one_process_sees(tmp_path: Path) -> None:
    rows = [EMPTY if number % 7 == 0 else GOOD for number in range(1500)]
    file = write(tmp_path / "a.jsonl", *rows, {"text": "x" * 500_000})
    alone = lint(tmp_path, file, workers=1)
    assert alone.findings
    assert lint(tmp_path, file, workers=2).findings == alone.findings


def test_the_command_prints_a_report_and_exits_1_where_something_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "a.jsonl", GOOD, EMPTY)
    assert main(["--home", str(tmp_path), "lint", str(file), "--only", "empty"]) == 1
    out = capsys.readouterr().out
    assert "answers that are empty: 1 row (50.0 %)  [empty]" in out
    assert "a.jsonl:2" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert main(["--home", str(tmp_path), "lint", str(file), "--skip", "empty", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert msgspec.convert(document["lint"], Report).rows == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.jsonl"], "no such file"),
        (["blank.jsonl"], "has no rows"),
        (["good.jsonl", "--only", "emtpy"], "Did you mean empty?"),
        (["good.jsonl", "--max-tokens", "3"], "must be 8 or more"),
        (["good.jsonl", "--set", "data.max_tokens=9"], "--set changes a recipe"),
        (["no-such-recipe"], "no-such-recipe"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.jsonl", GOOD)
    write(tmp_path / "blank.jsonl", b"", b" ")
    assert main(["--home", str(tmp_path), "lint", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_process_that_lints_imports_no_training_stack(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from finetop.core.lint import lint as linting\n"
        "from finetop.core.lint.findings import load, names\n"
        "from finetop.core.models.fast_tokenizer import LightTokenizer\n"
        "[load(name) for name in names()]\n"
        "print([m for m in ('torch', 'transformers', 'duckdb', 'textual', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_recipe_puts_into_prompts_is_counted(tmp_path: Path, tiny_model: Path) -> None:
    write(tmp_path / "a.jsonl", GOOD, GOOD)
    text = f"recipe: 1\nextends: lora\nmodel: {{id: {tiny_model}}}\ndata: {{train: [{{path: a.jsonl}}]}}\n"
    counts = []
    for ask in ("", "ask: {system: Answer in one sentence.}\n"):
        recipe = resolve_text(text + ask, (), tmp_path).resolved
        counts.append(
            linting.run(LintRequest(recipe=recipe, only=("empty",)), Home(tmp_path), lambda *_: None).lengths
        )
    assert counts[0].learned == counts[1].learned
    assert counts[0].tokens + 2 * len("Answer in one sentence.") // 3 < counts[1].tokens


def test_lengths_are_those_of_rows_to_train_on_and_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    train, test = write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "b.jsonl", GOOD, GOOD)
    given = (Given("test", {"path": str(test)}), Given("train", {"path": str(train)}))
    report = linting.run(LintRequest(given, only=("empty",)), Home(tmp_path), lambda *_: None)
    assert [(source.name, source.role, source.rows) for source in report.sources] == [
        ("a.jsonl", "train", 1),
        ("b.jsonl", "test", 2),
    ]
    assert report.rows == 3
    assert report.lengths.tokens == report.lengths.longest
    # files of one name
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "faq.jsonl", EMPTY if folder == "b" else GOOD)
    report = lint(tmp_path, tmp_path / "a/faq.jsonl", tmp_path / "b/faq.jsonl", only=("empty",))
    assert report.findings[0].places == (f"{tmp_path}/b/faq.jsonl:1",)


def test_what_to_do_first_is_said_last_and_on_a_page_on_top(tmp_path: Path) -> None:
    secret = {"prompt": "Key?", "completion": "It is AKIAQ3EGRTWZ5LTPWN6V today."}
    refusing = [
        {"prompt": f"Number {n}?", "completion": "I'm sorry, but I can't help with that."} for n in range(3)
    ]
    report = lint(tmp_path, write(tmp_path / "a.jsonl", secret, *refusing, EMPTY))
    graves = [finding.name for finding in report.findings]
    assert graves[:2] == ["secrets", "empty"] or graves[0] == "secrets", (
        "one secret is worse than three of another"
    )
    lines = list(report_lines(report))
    end = lines.index(next(line for line in lines if line.startswith("first")))
    assert "1  revoke the keys and passwords" in lines[end] and end > len(lines) - 10
    assert any("--fix OUT" in line and "empty" in line for line in lines[end:])
    assert all(len(line) <= 80 for line in lines)
    page = list(report_lines(report, is_page=True))
    assert [line[:5] for line in page].index("first") < [line[:1] for line in page].index("✗")
    assert all(load(name).do for name in names())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"question,answer\nA?,B.\n", "a.jsonl:1: is not JSON"),
        (b'{"question": "A?", "answer": "B."}\n', "columns: {prompt: question, completion: answer}"),
        (b"\x1f\x8b\x08 x\n", "is a damaged gzip file"),
        ("{}".encode("utf-16"), "is UTF-16 text"),
    ],
)
def test_a_file_without_a_single_row_is_refused_in_the_words_of_training(
    content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(said)):
        lint(tmp_path, tmp_path / "a.jsonl")


def test_the_test_of_a_recipe_is_asked_and_answered_whatever_is_learned(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"prompt": "a", "chosen": "It is b.", "rejected": "c"})
    test = write(tmp_path / "test.jsonl", GOOD)
    recipe = resolve_text(
        f"recipe: 1\nextends: dpo\nname: a\ndata: {{train: [{{path: {file}}}]}}\n"
        f"check: {{target: {{path: {test}}}}}\n",
        [],
    ).resolved
    report = linting.run(LintRequest(recipe=recipe), Home(tmp_path), lambda *_: None)
    assert report.findings == () and report.sources[1].format == "messages"


def test_documents_that_cant_be_used_are_noted_and_break_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/good.md").write_text("It is two.")
    (tmp_path / "docs/empty.md").touch()
    file = write(tmp_path / "a.jsonl", GOOD)
    (tmp_path / "a.yaml").write_text(
        f"recipe: 1\nextends: lora\nname: a\ndata: {{train: [{{path: {file}}}]}}\nask: {{documents: [docs]}}\n"
    )
    assert main(["--home", str(tmp_path), "lint", str(tmp_path / "a.yaml"), "--only", "empty"]) == 0
    out = capfd.readouterr().out
    assert "note    documents: docs/empty.md: is empty." in out and "nothing found" in out


CHAIN = """\
recipe: 1
name: kb
stages:
  - {name: sft, extends: lora, data: {train: [{path: a.jsonl}]}}
  - name: better
    extends: dpo
    data: {train: [{path: pairs.jsonl}]}
    check: {target: {path: test.jsonl, metric: nats_per_token}}
"""


def test_a_chain_is_linted_stage_by_stage_and_no_row_may_be_in_the_test_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))
    question = "How many legs does the new table of the shop have?"
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "Four legs of oak."}]
    write(tmp_path / "a.jsonl", {"messages": turns}, GOOD)
    write(tmp_path / "test.jsonl", {"messages": turns})
    write(tmp_path / "pairs.jsonl", {"prompt": "Which?", "chosen": "The left.", "rejected": "The right one."})
    write(tmp_path / "kb.yaml", CHAIN.encode())
    asks = ["lint", "kb.yaml", "--only", "leaks,turns,unreadable"]
    assert main(asks) == 1
    text = capsys.readouterr().out
    first, _, second = text.partition("── stage better ")
    assert first.startswith("── stage sft ") and "a.jsonl:1  as test.jsonl:1" in first
    assert "nothing found in 2 rows" in second
    assert main([*asks, "--json"]) == 1
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(stage["stage"], len(stage["lint"].get("findings", []))) for stage in stages] == [
        ("sft", 1),
        ("better", 0),
    ]
    assert main([*asks, "--fix", "b.jsonl"]) == 2
    assert "has 2 stages" in capsys.readouterr().err
    assert main(["lint", "kb.yaml", "--set", "sft.data.train=[]"]) == 2
    assert "stage sft: data.train" in capsys.readouterr().err


def test_a_model_that_is_damaged_is_named(tmp_path: Path, tiny_model: Path) -> None:
    """A truncated tokenizer, or a template that never ends: one line, whatever the rows are."""
    data = write(tmp_path / "rows.jsonl", *[GOOD] * 4)
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    os.truncate(folder / "tokenizer.json", 100)
    with pytest.raises(BadInput, match=r"tokenizer\.json can't be read"):
        lint(tmp_path, data, model=str(folder))
    shutil.copy(tiny_model / "tokenizer.json", folder)
    (folder / "chat_template.jinja").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(BadInput, match=r"chat template takes more than 0\.2 s for the row"),
    ):
        patch.setattr(render, "SECONDS", 0.2)
        lint(tmp_path, data, model=str(folder))


def test_tables_are_linted_as_their_rows_would_be_and_a_wrong_row_is_a_finding(tmp_path: Path) -> None:
    # Including what needs a second pass: copies, which are compared across blocks and files.
    rows = [{"prompt": f"Question {number}?", "completion": f"Answer {number}."} for number in range(700)]
    rows[600] = {"prompt": "Question 3?", "completion": "Answer 3."}
    rows[650] = {"prompt": "Question 650?", "completion": " "}
    plain = lint(tmp_path, write(tmp_path / "a.jsonl", *rows), only=("duplicates", "empty"))
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, part in (("a.csv", rows[:350]), ("b.csv", rows[350:])):
        cells = "".join(f'{row["prompt"]},"{row["completion"]}"\n' for row in part)
        (folder / name).write_text(f"prompt,completion\n{cells}")
    table = lint(tmp_path, folder, only=("duplicates", "empty"))
    assert table.rows == plain.rows == 700
    assert {finding.name: finding.count for finding in table.findings} == {
        finding.name: finding.count for finding in plain.findings
    }
    assert {finding.name: finding.places for finding in table.findings} == {
        "duplicates": ("parts/b.csv:252",),
        "empty": ("parts/b.csv:302",),
    }
    assert [(finding.name, finding.rows) for finding in table.sources] == [("parts", 700)]
    assert table.sources[0].sha256 == source_record.sha256_of(folder)
    # a row of a table that is wrong
    (tmp_path / "a.csv").write_text('prompt,completion\na,b\nc,d,e\nf,"g" h\nf,g\n')
    report = lint(tmp_path, tmp_path / "a.csv", only=("unreadable",))
    assert report.findings[0].places == ("a.csv:3", "a.csv:4")
    assert "has 3 cells, but there are 2 columns" in report.findings[0].examples[0].text


def test_a_recipe_is_linted_by_its_columns_and_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "text,label\nA fine lamp.,1\nIt flickers.,0\nA fine lamp.,1\nIt hums.,2\n"
    )
    named = "columns: {prompt: text, completion: label}, labels: {0: bad, 1: good}"
    data, check = f"{{train: [{{path: a.csv, {named}}}]}}", f"{{target: {{path: a.csv, {named}}}}}"
    text = f"recipe: 1\nextends: lora\ndata: {data}\ncheck: {check}\n"
    loaded = resolve_text(text, cwd=tmp_path)
    report = linting.run(
        LintRequest(recipe=loaded.resolved, only=("unreadable", "duplicates", "leaks")),
        Home(tmp_path),
        lambda *_: None,
    )
    findings = {finding.name: finding for finding in report.findings}
    assert findings["unreadable"].places == ("a.csv:5", "a.csv:5")
    assert "label is '2', which labels does not name" in findings["unreadable"].examples[0].text
    assert "good" in findings["duplicates"].examples[0].text
    assert findings["leaks"].count == 3


def test_the_lines_for_an_unknown_shape_name_all_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sentence,label\na,0\nb,1\nc,2\n")
    text = "recipe: 1\nextends: lora\ndata: {train: [{path: a.csv}]}\n"
    loaded = resolve_text(text, cwd=tmp_path)
    with pytest.raises(BadInput, match=r"labels: \{0: name of 0, 1: name of 1, 2: name of 2\}"):
        linting.run(LintRequest(recipe=loaded.resolved), Home(tmp_path), lambda *_: None)


def test_what_the_error_prints_is_pasted_behind_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("sentence,label\nA fine lamp.,0\nIt flickers at night.,1\n")
    command = ["--home", str(tmp_path), "lint", str(file)]
    assert main(command) == 2
    pasted = capsys.readouterr().err.partition("--columns): ")[2].strip()
    assert main([*command, "--columns", pasted]) in (0, 1)
    assert "a.csv: 2 rows of format prompt-completion" in capsys.readouterr().out
    for wrong, message in (
        ("columns: {promt: a}", "--columns.columns.promt: rows have no key 'promt'"),
        ("column: {prompt: a}", "Did you mean columns?"),
        ("columns: [", "--columns: "),
    ):
        assert main([*command, "--columns", wrong]) == 2
        assert message in capsys.readouterr().err


def test_of_a_demo_model_that_is_not_here_tokens_are_estimated_and_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    report = lint(tmp_path, write(tmp_path / "a.jsonl", GOOD), model="smollm2-135m-instruct", only=("empty",))
    assert [note.partition("each: ")[2] for note in report.notes if "estimated" in note] == [
        "smollm2-135m-instruct is missing: the first run downloads it"
    ]
