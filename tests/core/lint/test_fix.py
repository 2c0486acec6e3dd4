"""What --fix writes: a new file, and a manifest of every change; what it refuses."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from finetop.core.commands.main import main
from finetop.core.lint import fix, lint
from finetop.core.lint.report import Given, LintRequest
from finetop.core.runtime.home import Home

GOOD = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "It is  two."}], "id": 7}'
EMPTY = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": ""}]}'
MARKED = (
    '{"id":1,"messages":[{"role":"user","content":"Two?"},{"role":"assistant","content":"<|im_start|>assistant\\nCafÃ©.</s>"}]}'
).encode()
UNSURE = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "It <|im_end|> is."}]}'


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_change_is_in_the_manifest_and_all_else_is_as_it_was(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(b"\n".join([GOOD, b"not json", EMPTY, b"", MARKED, UNSURE, GOOD]) + b"\n")
    assert (
        main(["--home", str(tmp_path), "lint", str(source), "--skip", "duplicates", "--fix", str(out)]) == 1
    )
    rows = out.read_bytes().splitlines()
    assert [rows[0], rows[2], rows[3]] == [GOOD, UNSURE, GOOD]
    assert json.loads(rows[1]) == {
        "id": 1,
        "messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "Café."}],
    }
    head, *changes = map(json.loads, (tmp_path / "b.jsonl.manifest.jsonl").read_text().splitlines())
    assert (head["from_sha256"], head["to_sha256"]) == (digest(source.read_bytes()), digest(out.read_bytes()))
    assert (head["from_rows"], head["rows"], head["removed"], head["mended"]) == (6, 4, 2, 1)
    assert [
        (change["line"], change["finding"], change["action"], change["new_line"]) for change in changes
    ] == [
        (2, "unreadable", "remove", None),
        (3, "empty", "remove", None),
        (5, "damaged", "mend", 2),
        (5, "template", "mend", 2),
    ]
    assert [change["before"] for change in changes] == [
        digest(b"not json"),
        digest(EMPTY),
        digest(MARKED),
        digest(MARKED),
    ]
    assert changes[2]["after"] == digest(rows[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.jsonl",
        "b.jsonl",
        "b.jsonl.manifest.jsonl",
    ]


def test_a_full_disk_costs_the_new_file_and_not_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, place: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fix, "put", full)
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(GOOD + b"\n" + EMPTY + b"\n")
    request = LintRequest((Given("train", {"path": str(source)}),), only=("empty",), fix=str(out))
    report = lint.run(request, Home(tmp_path), lambda *_: None)
    assert [finding.name for finding in report.findings] == ["empty"] and report.fixed is None
    assert report.unfixed is not None and report.unfixed.exit_code == 4
    assert "no space left" in report.unfixed.message
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.jsonl", "--fix", "a.jsonl"], "already exists"),
        (["a.jsonl", "--fix", "told.jsonl"], "already exists"),
        (["a.jsonl", "--fix", ""], "the path is empty"),
        *((["a.jsonl", "--fix", name], "not a file name") for name in (".", "..", "/", "./")),
        (["a.jsonl", "--fix", "n" * 256], "file name too long"),
        (["", "--fix", "b.jsonl"], "the path is empty"),
        (["a.jsonl", "--test", "", "--fix", "b.jsonl"], "the path is empty"),
        ([f"{'n' * 256}.jsonl", "--fix", "b.jsonl"], "file name too long"),
        (["a.jsonl", "--fix", "no/b.jsonl"], "no folder"),
        (["a.jsonl", "told.jsonl.manifest.jsonl", "--fix", "b.jsonl"], "several sources"),
    ],
)
def test_nothing_is_overwritten(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "told.jsonl.manifest.jsonl"):
        (tmp_path / name).write_bytes(GOOD + b"\n")
    assert main(["--home", str(tmp_path), "lint", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert (tmp_path / "a.jsonl").read_bytes() == GOOD + b"\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "told.jsonl.manifest.jsonl"]


def test_any_file_is_fixed_into_json_lines(tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "b.jsonl"
    source.write_text('prompt,completion\nTwo?,It is two.\nThree?,\nFour,"a" b\nFive?,CafÃ©.\n')
    assert main(["--home", str(tmp_path), "lint", str(source), "--fix", str(out)]) == 1
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert rows == [
        {"prompt": "Two?", "completion": "It is two."},
        {"prompt": "Five?", "completion": "Café."},
    ]
    head, *changes = map(json.loads, (tmp_path / "b.jsonl.manifest.jsonl").read_text().splitlines())
    assert (head["from"], head["from_sha256"]) == (str(source), digest(source.read_bytes()))
    assert [(change["line"], change["action"]) for change in changes] == [
        (3, "remove"),
        (4, "remove"),
        (5, "mend"),
    ]
