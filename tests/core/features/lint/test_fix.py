"""What --fix writes: a new file, and a manifest of every change; what it refuses."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest
from lint_run import lint
from tiny_run import chat

from finetop.core.commands.main import main
from finetop.core.errors import BadInput
from finetop.core.features.lint import fix

GOOD = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "It is  two."}], "id": 7}'
EMPTY = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": ""}]}'
MARKED = (
    '{"id":1,"messages":[{"role":"user","content":"Two?"},{"role":"assistant","content":"<|im_start|>assistant\\nCafÃ©.</s>"}]}'
).encode()
UNSURE = b'{"messages": [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "It <|im_end|> is."}]}'


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_change_is_in_the_manifest_and_all_else_is_as_it_was(tmp_path):
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(b"\n".join([GOOD, b"not json", EMPTY, b"", MARKED, UNSURE, GOOD]) + b"\n")
    skip = ("--skip", "duplicates")
    assert main(["--home", str(tmp_path), "lint", str(source), *skip, "--fix", str(out)]) == 1
    rows = out.read_bytes().splitlines()
    assert [rows[0], rows[2], rows[3]] == [GOOD, UNSURE, GOOD]
    assert json.loads(rows[1]) == {"id": 1, **chat("Two?", "Café.")}
    head, *changes = map(json.loads, (tmp_path / "b.jsonl.manifest.jsonl").read_text().splitlines())
    assert (head["from_sha256"], head["to_sha256"]) == (digest(source.read_bytes()), digest(out.read_bytes()))
    assert (head["from_rows"], head["rows"], head["removed"], head["fixed"]) == (6, 4, 2, 1)
    keys = ("line", "finding", "action", "new_line", "before")
    assert [tuple(change[key] for key in keys) for change in changes] == [
        (2, "unreadable", "remove", None, digest(b"not json")),
        (3, "empty", "remove", None, digest(EMPTY)),
        (5, "damaged", "fix", 2, digest(MARKED)),
        (5, "template", "fix", 2, digest(MARKED)),
    ]
    assert changes[2]["after"] == digest(rows[1])
    files = ["a.jsonl", "b.jsonl", "b.jsonl.manifest.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_full_disk_costs_the_new_file_and_not_the_report(tmp_path, monkeypatch):
    def full(file, place):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fix, "put", full)
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(GOOD + b"\n" + EMPTY + b"\n")
    report = lint(tmp_path, source, only=("empty",), fix=str(out))
    assert [finding.name for finding in report.findings] == ["empty"] and report.fixed is None
    assert report.unfixed is not None and report.unfixed.exit_code == 4
    assert "no space left" in report.unfixed.message
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.jsonl", "--fix", "a.jsonl"], "already exists"),
        (["a.jsonl", "--fix", ""], "the path is empty"),
        *((["a.jsonl", "--fix", name], "not a file name") for name in (".", "..", "/", "./")),
        (["a.jsonl", "--fix", "n" * 256], "file name too long"),
        (["", "--fix", "b.jsonl"], "the path is empty"),
        (["a.jsonl", "--test", "", "--fix", "b.jsonl"], "the path is empty"),
        ([f"{'n' * 256}.jsonl", "--fix", "b.jsonl"], "file name too long"),
    ],
)
def test_nothing_is_overwritten(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "told.jsonl.manifest.jsonl"):
        (tmp_path / name).write_bytes(GOOD + b"\n")
    assert main(["--home", str(tmp_path), "lint", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    source, other = tmp_path / "a.jsonl", tmp_path / "told.jsonl.manifest.jsonl"
    for sources, fixed, why in (
        ([source], "told.jsonl", "already exists"),
        ([source], "no/b.jsonl", "no folder"),
        ([source, other], "b.jsonl", "several sources"),
    ):
        with pytest.raises(BadInput, match=why):
            lint(tmp_path, *sources, fix=fixed)
    assert source.read_bytes() == GOOD + b"\n"
    assert sorted(tmp_path.iterdir()) == [source, other]


def test_any_file_is_fixed_into_json_lines(tmp_path):
    source, out = tmp_path / "a.csv", tmp_path / "b.jsonl"
    source.write_text('prompt,completion\nTwo?,It is two.\nThree?,\nFour,"a" b\nFive?,CafÃ©.\n')
    assert lint(tmp_path, source, fix=str(out)).unfixed is None
    two, five = map(json.loads, out.read_bytes().splitlines())
    assert two == {"prompt": "Two?", "completion": "It is two."}
    assert five == {"prompt": "Five?", "completion": "Café."}
    head, *changes = map(json.loads, (tmp_path / "b.jsonl.manifest.jsonl").read_text().splitlines())
    assert (head["from"], head["from_sha256"]) == (str(source), digest(source.read_bytes()))
    actions = [(change["line"], change["action"]) for change in changes]
    assert actions == [(3, "remove"), (4, "remove"), (5, "fix")]
