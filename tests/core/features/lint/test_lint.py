"""Lint from the command line: what it reads, what it finds, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from lint_run import lint, lint_recipe
from tiny_run import chat, write_rows

from finetop.core.commands.main import main
from finetop.core.data import render, source_record
from finetop.core.errors import BadData, BadInput, FinetopError
from finetop.core.features.lint import lines
from finetop.core.features.lint.findings import load, names
from finetop.core.features.lint.report import Report
from finetop.core.features.lint.report_text import report_lines
from finetop.core.recipe.schema import Source
from finetop.core.runtime.home import Home

GOOD, EMPTY = chat("Two?", "It is two."), chat("Two?", "")


def test_bad_rows_are_findings_and_the_rest_is_still_read(tmp_path):
    bad = (b"not json", b"[1]", b"", json.dumps(EMPTY).encode(), b'{"x": 1}', b"\xff\xfe", b"[" * 9999)
    good = json.dumps(GOOD).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, *bad, good]))
    report = lint(tmp_path, tmp_path / "a.jsonl", only=("unreadable", "empty"))
    assert report.rows == 8
    unreadable, empty = report.findings
    assert unreadable.places == ("a.jsonl:2", "a.jsonl:3", "a.jsonl:6", "a.jsonl:7", "a.jsonl:8")
    assert sum(unreadable.kinds.values()) == unreadable.count == 5
    assert empty.places == ("a.jsonl:5",)


def test_a_line_of_more_than_8_mib_is_a_finding_and_one_that_never_ends_is_not_read_to_its_end(tmp_path):
    file = write_rows(tmp_path / "a.jsonl", [GOOD, {"text": "x" * (9 << 20)}, GOOD])
    report = lint(tmp_path, file, workers=1)
    assert [finding.places for finding in report.findings if finding.name == "unreadable"] == [("a.jsonl:2",)]
    assert report.sources[0].bytes == file.stat().st_size
    with (tmp_path / "hole.jsonl").open("wb") as hole:
        hole.truncate(1 << 40)
    read = lines.opened(Source(path=str(tmp_path / "hole.jsonl")), "train")
    with pytest.raises(BadData, match=r"hole\.jsonl:1: the line goes on for more than 256 MiB"):
        list(lines.blocks(read, 0, 0, Home(tmp_path), lambda rows: None))


def test_workers_see_what_one_process_sees(tmp_path):
    rows = [EMPTY if number % 7 == 0 else GOOD for number in range(1500)]
    file = write_rows(tmp_path / "a.jsonl", [*rows, {"text": "x" * 500_000}])
    alone = lint(tmp_path, file, workers=1)
    assert alone.findings
    assert lint(tmp_path, file, workers=2).findings == alone.findings


def test_the_command_prints_a_report_and_exits_1_where_something_was_found(tmp_path, capsys):
    file = write_rows(tmp_path / "a.jsonl", [GOOD, EMPTY])
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
        (["blank.jsonl"], "has no rows"),
        (["good.jsonl", "--max-tokens", "3"], "must be 8 or more"),
        (["good.jsonl", "--set", "data.max_tokens=9"], "--set changes a recipe"),
        (["no-such-recipe"], "no-such-recipe"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = write_rows(tmp_path / "good.jsonl", [GOOD])
    (tmp_path / "blank.jsonl").write_text("\n \n")
    assert main(["--home", str(tmp_path), "lint", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    for path, only, why in (
        (tmp_path / "nothing.jsonl", (), "no such file"),
        (good, ("emtpy",), "Did you mean empty?"),
    ):
        with pytest.raises(FinetopError, match=re.escape(why)):
            lint(tmp_path, path, only=only)


def test_the_process_that_lints_imports_no_training_stack():
    code = (
        "import sys\n"
        "from finetop.core.features.lint import lint as linting\n"
        "from finetop.core.features.lint.findings import load, names\n"
        "from finetop.core.models.fast_tokenizer import LightTokenizer\n"
        "[load(name) for name in names()]\n"
        "print([m for m in ('torch', 'transformers', 'duckdb', 'textual', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_recipe_puts_into_prompts_is_counted(tmp_path, tiny_model):
    write_rows(tmp_path / "a.jsonl", [GOOD, GOOD])
    text = f"extends: lora\nmodel: {{id: {tiny_model}}}\ndata: {{train: [{{path: a.jsonl}}]}}\n"
    asks = ("", "ask: {system: Answer in one sentence.}\n")
    bare, asked = (lint_recipe(tmp_path, text + ask, only=("empty",)).lengths for ask in asks)
    assert bare.learned == asked.learned
    assert bare.tokens + 2 * len("Answer in one sentence.") // 3 < asked.tokens


def test_lengths_are_those_of_rows_to_train_on_and_files_of_one_name_are_told_apart(tmp_path):
    train, test = write_rows(tmp_path / "a.jsonl", [GOOD]), write_rows(tmp_path / "b.jsonl", [GOOD, GOOD])
    report = lint(tmp_path, train, test=test, only=("empty",))
    sources = [(source.name, source.role, source.rows) for source in report.sources]
    assert sources == [("a.jsonl", "train", 1), ("b.jsonl", "test", 2)]
    assert report.rows == 3
    assert report.lengths.tokens == report.lengths.longest
    # files of one name
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "faq.jsonl", [EMPTY if folder == "b" else GOOD])
    report = lint(tmp_path, tmp_path / "a/faq.jsonl", tmp_path / "b/faq.jsonl", only=("empty",))
    assert report.findings[0].places == (f"{tmp_path}/b/faq.jsonl:1",)


def test_what_to_do_first_is_said_last_and_on_a_page_on_top(tmp_path):
    secret = {"prompt": "Key?", "completion": "It is AKIAQ3EGRTWZ5LTPWN6V today."}
    refusal = "I'm sorry, but I can't help with that."
    refusing = [{"prompt": f"Number {n}?", "completion": refusal} for n in range(3)]
    report = lint(tmp_path, write_rows(tmp_path / "a.jsonl", [secret, *refusing, EMPTY]))
    graves = [finding.name for finding in report.findings]
    assert graves[0] == "secrets", "one secret is worse than three of another"
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
def test_a_file_without_a_single_row_is_refused_in_the_words_of_training(content, said, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(said)):
        lint(tmp_path, tmp_path / "a.jsonl")


def test_the_test_of_a_recipe_is_asked_and_answered_whatever_is_learned(tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"prompt": "a", "chosen": "It is b.", "rejected": "c"}])
    write_rows(tmp_path / "test.jsonl", [GOOD])
    data = "data: {train: [{path: a.jsonl}]}\ncheck: {target: {path: test.jsonl}}\n"
    report = lint_recipe(tmp_path, f"extends: dpo\nname: a\n{data}")
    assert report.findings == () and report.sources[1].format == "messages"


def test_documents_that_cant_be_used_are_noted_and_break_nothing(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/good.md").write_text("It is two.")
    (tmp_path / "docs/empty.md").touch()
    write_rows(tmp_path / "a.jsonl", [GOOD])
    data = "data: {train: [{path: a.jsonl}]}\nask: {documents: [docs]}\n"
    report = lint_recipe(tmp_path, f"extends: lora\nname: a\n{data}", only=("empty",))
    text = "\n".join(report_lines(report))
    assert "note    documents: docs/empty.md: is empty." in text and "nothing found" in text


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


@pytest.mark.slow
def test_a_chain_is_linted_stage_by_stage_and_no_row_may_be_in_the_test_of_any(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))
    row = chat("How many legs does the new table of the shop have?", "Four legs of oak.")
    write_rows(tmp_path / "a.jsonl", [row, GOOD])
    write_rows(tmp_path / "test.jsonl", [row])
    write_rows(
        tmp_path / "pairs.jsonl", [{"prompt": "Which?", "chosen": "The left.", "rejected": "The right one."}]
    )
    (tmp_path / "kb.yaml").write_text(CHAIN)
    asks = ["lint", "kb.yaml", "--only", "leaks,turns,unreadable"]
    assert main(asks) == 1
    text = capsys.readouterr().out
    first, _, second = text.partition("── stage better ")
    assert first.startswith("── stage sft ") and "a.jsonl:1  as test.jsonl:1" in first
    assert "nothing found in 2 rows" in second
    assert main([*asks, "--json"]) == 1
    stages = json.loads(capsys.readouterr().out)["stages"]
    counts = [(stage["stage"], len(stage["lint"].get("findings", []))) for stage in stages]
    assert counts == [("sft", 1), ("better", 0)]
    assert main([*asks, "--fix", "b.jsonl"]) == 2
    assert "has 2 stages" in capsys.readouterr().err
    assert main(["lint", "kb.yaml", "--set", "sft.data.train=[]"]) == 2
    assert "stage sft: data.train" in capsys.readouterr().err


def test_a_model_that_is_damaged_is_named(tmp_path, tiny_model, monkeypatch):
    """A truncated tokenizer, or a template that never ends: one line, whatever the rows are."""
    data = write_rows(tmp_path / "rows.jsonl", [GOOD] * 4)
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    os.truncate(folder / "tokenizer.json", 100)
    with pytest.raises(BadInput, match=r"tokenizer\.json can't be read"):
        lint(tmp_path, data, model=str(folder))
    shutil.copy(tiny_model / "tokenizer.json", folder)
    (folder / "chat_template.jinja").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    monkeypatch.setattr(render, "SECONDS", 0.2)
    with pytest.raises(BadInput, match=r"chat template takes more than 0\.2 s for the row"):
        lint(tmp_path, data, model=str(folder))


def test_tables_are_linted_as_their_rows_would_be_and_a_wrong_row_is_a_finding(tmp_path):
    # Including what needs a second pass: copies, which are compared across blocks and files.
    rows = [{"prompt": f"Question {number}?", "completion": f"Answer {number}."} for number in range(700)]
    rows[600] = {"prompt": "Question 3?", "completion": "Answer 3."}
    rows[650] = {"prompt": "Question 650?", "completion": " "}
    plain = lint(tmp_path, write_rows(tmp_path / "a.jsonl", rows), only=("duplicates", "empty"))
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, part in (("a.csv", rows[:350]), ("b.csv", rows[350:])):
        cells = "".join(f'{row["prompt"]},"{row["completion"]}"\n' for row in part)
        (folder / name).write_text(f"prompt,completion\n{cells}")
    table = lint(tmp_path, folder, only=("duplicates", "empty"))
    assert table.rows == plain.rows == 700
    counts, of_plain = ({entry.name: entry.count for entry in report.findings} for report in (table, plain))
    assert counts == of_plain
    places = {finding.name: finding.places for finding in table.findings}
    assert places == {"duplicates": ("parts/b.csv:252",), "empty": ("parts/b.csv:302",)}
    assert [(finding.name, finding.rows) for finding in table.sources] == [("parts", 700)]
    assert table.sources[0].sha256 == source_record.sha256_of(folder)
    # a row of a table that is wrong
    (tmp_path / "a.csv").write_text('prompt,completion\na,b\nc,d,e\nf,"g" h\nf,g\n')
    report = lint(tmp_path, tmp_path / "a.csv", only=("unreadable",))
    assert report.findings[0].places == ("a.csv:3", "a.csv:4")
    assert "has 3 cells, but there are 2 columns" in report.findings[0].examples[0].text


def test_a_recipe_is_linted_by_its_columns_and_labels(tmp_path):
    rows = "A fine lamp.,1\nIt flickers.,0\nA fine lamp.,1\nIt hums.,2\n"
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")
    named = "columns: {prompt: text, completion: label}, labels: {0: bad, 1: good}"
    data, check = f"{{train: [{{path: a.csv, {named}}}]}}", f"{{target: {{path: a.csv, {named}}}}}"
    only = ("unreadable", "duplicates", "leaks")
    report = lint_recipe(tmp_path, f"extends: lora\ndata: {data}\ncheck: {check}\n", only=only)
    findings = {finding.name: finding for finding in report.findings}
    assert findings["unreadable"].places == ("a.csv:5", "a.csv:5")
    assert "label is '2', which labels does not name" in findings["unreadable"].examples[0].text
    assert "good" in findings["duplicates"].examples[0].text
    assert findings["leaks"].count == 3
    # the lines for an unknown shape name all labels
    with pytest.raises(BadInput, match=r"labels: \{0: name of 0, 1: name of 1, 2: name of 2\}"):
        lint_recipe(tmp_path, "extends: lora\ndata: {train: [{path: a.csv}]}\n")


def test_what_the_error_prints_is_pasted_behind_columns(tmp_path, capsys):
    file = tmp_path / "a.csv"
    file.write_text("sentence,label\nA fine lamp.,0\nIt flickers at night.,1\n")
    with pytest.raises(BadInput) as caught:
        lint(tmp_path, file)
    pasted = caught.value.hint.partition("--columns): ")[2].strip()
    command = ["--home", str(tmp_path), "lint", str(file), "--columns"]
    assert main([*command, pasted]) in (0, 1)
    assert "a.csv: 2 rows of format prompt-completion" in capsys.readouterr().out
    for wrong, message in (
        ("columns: {promt: a}", "--columns.columns.promt: rows have no key 'promt'"),
        ("column: {prompt: a}", "Did you mean columns?"),
        ("columns: [", "--columns: "),
    ):
        assert main([*command, wrong]) == 2
        assert message in capsys.readouterr().err


def test_of_a_demo_model_that_is_not_here_tokens_are_estimated_and_it_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    file = write_rows(tmp_path / "a.jsonl", [GOOD])
    report = lint(tmp_path, file, model="smollm2-135m-instruct", only=("empty",))
    (why,) = (note.partition("each: ")[2] for note in report.notes if "estimated" in note)
    assert why == "smollm2-135m-instruct is missing: the first run downloads it"
