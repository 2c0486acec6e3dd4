"""Hostile and broken YAML: one line that names file, line and value, and never another exception."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import yaml

from finetop.core.errors import RecipeError
from finetop.core.recipe.strict_yaml import MAX_BYTES, Origin, parse, to_plain

ORIGIN = Origin("x.yaml", Path("/recipes"))
# What YAML is made of, one piece after the other
PIECES = [
    *"a1[]{}'\"#|:~-.%\\?é", "b: ", "- ", ", ", " #", "\n", "\n  ", "\n    ", "|\n  ", ">\n  ", "? ", ": ", "1e-4",
    "--- ", "...", "x y", "<<: ", "0x1f", "true", "&a ", "*a", "!t ", "|2\n", "'a", "🙂", "\t",
    "\r\n", "\u2028", "\ufeff",
]  # fmt: skip
LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"

# the text, and what the error must contain, its line number included
HOSTILE = {
    "python object": (
        "a: 1\nb: !!python/object/apply:os.system ['id']",
        "x.yaml:2: the tag 'tag:yaml.org,2002:python",
    ),
    "python name": ("a: !!python/name:os.system", "x.yaml:1: the tag"),
    "local tag": ("a: !thing 1", "x.yaml:1: the tag '!thing'"),
    "harmless tag": ("a: !!str 1", "x.yaml:1: the tag"),
    "bare tag": ("a: ! 1", "x.yaml:1: the tag"),
    "tag of a key": ("!!binary a: 1", "x.yaml:1: the tag"),
    "billion laughs": (LAUGHS, "x.yaml:1: anchors and aliases"),
    "anchor on a mapping": ("a: 1\nb: &b {c: 1}", "x.yaml:2: anchors"),
    "alias unknown": ("a: *b", "x.yaml:1: anchors"),
    "merge key": ("a: {<<: *b}", "x.yaml:1: anchors"),
    "recursive alias": ("a: &a [*a]", "x.yaml:1: anchors"),
    "deep flow list": ("a: " + "[" * 50_000, "nested deeper"),
    "deep flow mapping": ("{a: " * 5_000, "nested deeper"),
    "deep block": ("".join(" " * i + "a:\n" for i in range(200)), "x.yaml:24: is nested deeper"),
    "deep block list": ("- " * 5_000 + "1", "nested deeper"),
    "duplicate key": ("a: 1\nb: 2\na: 3", "x.yaml:3: a is set twice (first on line 1)"),
    "duplicate deep": ("a:\n  b: 1\n  'b': 2", "x.yaml:3: b is set twice (first on line 2)"),
    "nan": ("a: .nan", "x.yaml:1: .nan is not a number"),
    "inf": ("a: -.inf", "x.yaml:1: -.inf is not a number"),
    "huge int": ("a: " + "9" * 5_000, "is too large a number"),
    "int above 64 bits": ("a: 9223372036854775808", "'9223372036854775808' is too large"),
    "huge hex": ("a: 0x" + "f" * 40, "is too large a number"),
    "huge float": ("a: 1e999", "'1e999' is too large a number"),
    "two documents": ("a: 1\n---\nb: 2", "x.yaml:2: a second document"),
    "empty": ("", "x.yaml:1: is empty"),
    "comment alone": ("# nothing\n", "is empty"),
    "tab": ("a:\n\tb: 1", "x.yaml:2:"),
    "unclosed list": ("a: [1, 2\nb: 3", "x.yaml:"),
    "unclosed quote": ("a: 'x\nb: 1\n", "x.yaml:"),
    "colon in text": ("a: b: c", "x.yaml:1: mapping values are not allowed here"),
    "key is a fraction": ("1.5: a", "x.yaml:1: the key 1.5 is not text"),
    "keys of one text": ("1: a\n'1': b", "x.yaml:2: 1 is set twice"),
    "key is a list": ("? [a]\n: 1", "the key a list is not text"),
    "key is null": ("~: a", "the key null is not text"),
    "nul byte": ("a: 1\nb: x\0y", "x.yaml:2: the character '\\x00' is not allowed"),
    "escape character": ("a: \x1b[2J", "x.yaml:1: the character '\\x1b' is not allowed"),
    "nul by escape": ('a: 1\nb: "x\\0y"', "x.yaml:2: 'x\\x00y' holds a character"),
    "half a pair by escape": ('a: "\\ud800"', "holds a character that is not text"),
    "escape out of range": ('a: "\\UFFFFFFFF"', "x.yaml:1: this is not YAML"),
    "bad directive": ("%YAML 9.9\n---\na: 1", "x.yaml:"),
    "too large": ("a: " + "x" * MAX_BYTES, "x.yaml: is larger than 256 KiB"),
    "backquote": ("a: `id`", "x.yaml:1:"),
    "percent": ("a: %x", "x.yaml:1:"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_in_one_line(name: str) -> None:
    text, message = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(RecipeError) as caught:
        parse(text, ORIGIN)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()  # no newline, no escape sequence
    assert len(str(caught.value)) < 300
    assert time.process_time() - started < 2


def test_scalars_follow_yaml_1_2_and_a_setting_is_where_its_key_is() -> None:
    text = (
        "[1e-4, 2.0e5, 010, 0x10, 0o17, -3, +.5, 7., yes, no, on, off, True, ~, null,"
        " 1_000, 1:30, 2026-01-02, '1', 1e]"
    )
    expected: list[object] = [1e-4, 2e5, 10, 16, 15, -3, 0.5, 7.0, "yes", "no", "on", "off", True, None, None]
    expected += ["1_000", "1:30", "2026-01-02", "1", "1e"]
    read = to_plain(parse(text, ORIGIN))
    assert read == expected
    assert [type(value) for value in read] == [type(value) for value in expected]
    assert to_plain(parse("{a: '.nan', b: 'true', c: ''}", ORIGIN)) == {"a": ".nan", "b": "true", "c": ""}
    root = parse("a:\n\n  b: 1\nc:\n  - 1\n  - 2\n", ORIGIN)
    assert isinstance(root.value, dict)
    a, c = root.value["a"], root.value["c"]
    assert a.place == "x.yaml:1"
    assert isinstance(a.value, dict) and a.value["b"].place == "x.yaml:3"
    assert isinstance(c.value, list) and c.value[1].place == "x.yaml:6"


def test_the_largest_files_are_read_or_refused_in_time() -> None:
    started = time.process_time()
    with pytest.raises(RecipeError, match="holds more than 5000 values"):
        parse("a:\n" + "- {b: 1, c: [x, y]}\n" * 10_000, ORIGIN)
    text = "word " * (MAX_BYTES // 5 - 10)
    assert to_plain(parse(f"a: {text}", ORIGIN)) == {"a": text.strip()}
    assert time.process_time() - started < 10


@pytest.mark.slow
def test_libyaml_reads_what_python_reads():
    """The faster parser decides alone only where it says what PyYAML's own says, lines included."""
    chance, read = random.Random(7), 0
    for _ in range(8_000):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 14)))
        try:
            fast = parse(text, ORIGIN)
        except RecipeError:
            continue
        read += 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yaml, "__with_libyaml__", False)
            assert parse.__wrapped__(text, ORIGIN) == fast, text
    assert read > 500
