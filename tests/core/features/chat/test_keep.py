"""Answers kept as rows: in the shape that a file has, and none in what is not JSON lines."""

import json

import pytest

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.chat.keep import append_row


def test_a_row_has_the_shape_of_its_file(tmp_path):
    new = tmp_path / "new.jsonl"
    append_row(new, "Hi", "Be brief.", "Hello")
    append_row(new, "Hö", "", "ok")
    assert new.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["messages"][-2:] for line in new.read_text().splitlines()] == [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": "Hö"}, {"role": "assistant", "content": "ok"}],
    ]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('\n{"prompt": "a", "completion": "b"}')  # its last line has no end
    append_row(pairs, "Hi", "", "Hello")
    _, first, kept = pairs.read_text().splitlines()
    assert (first, kept) == ('{"prompt": "a", "completion": "b"}', '{"prompt":"Hi","completion":"Hello"}')
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": [{"role": "user", "content": "a"}], "completion": [], "x": 1}\n')
    append_row(chats, "Hi", "", "Hello")
    assert json.loads(chats.read_text().splitlines()[1])["completion"][0]["content"] == "Hello"


def test_what_is_no_such_file_stays_as_it_is(tmp_path):
    text, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    text.write_text("hello\n")
    other.write_text('{"question": "a"}\n')
    for file, why in (
        (text, "a.jsonl: it does not hold JSON lines"),
        (other, "b.jsonl: its rows have question"),
        (tmp_path / "c.csv", "not a JSON lines file"),
    ):
        before = file.read_bytes() if file.exists() else None
        with pytest.raises(BadInput, match=why):
            append_row(file, "a", "", "b")
        assert (file.read_bytes() if file.exists() else None) == before
    with pytest.raises(EnvironmentTrouble, match="no such file or directory"):
        append_row(tmp_path / "none" / "a.jsonl", "a", "", "b")
