"""Columns and labels: rows get the keys that training reads; what an error prints works when pasted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from finetop.core.commands.shared.options import columns_of
from finetop.core.data import columns, sources, target_rows
from finetop.core.data.files import Place
from finetop.core.data.formats import Conversation, Labelled, Preference, Prompt, Text
from finetop.core.errors import BadInput, RecipeError
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.schema import Source, Target
from finetop.core.runtime.home import Home

HERE = Place("a.csv", 7)


def shaped(
    row: dict[str, Any], named: dict[str, str], labels: dict[str, str | bool] | None = None
) -> dict[str, Any]:
    return columns.shaped(row, named, labels or {}, HERE)


def test_a_key_is_a_column_or_a_template() -> None:
    row = {"q": "Why?", "title": "Tents", "n": 3, "ok": True, "id": 9, "none": None}
    assert shaped(row, {"prompt": "q", "completion": "n"}) == {"prompt": "Why?", "completion": "3"}
    assert shaped(row, {"text": "{title}: {q} {{x}} {n}, {ok}"}) == {"text": "Tents: Why? {x} 3, true"}
    assert shaped(row, {"text": "{title}{none}"}) == {"text": "Tents"}
    assert shaped(row, {"prompt": "q", "answer": "none"}) == {"prompt": "Why?"}
    assert shaped(row, {"prompt": "q", "answer": "<{none}>"}) == {"prompt": "Why?"}
    assert shaped({"turns": [{"role": "user"}]}, {"messages": "turns"}) == {"messages": [{"role": "user"}]}


def test_a_label_is_named_however_it_is_written() -> None:
    named = {"prompt": "t", "completion": "y"}
    for value in (1, 1.0, "1", " 1 "):
        assert shaped({"t": "a", "y": value}, named, {"0": "bad", "1": "good"})["completion"] == "good"


def test_labels_that_are_true_or_false() -> None:
    def named(value: Any, names: dict[str, str | bool]) -> dict[str, Any]:
        return shaped({"prompt": "a", "completion": value}, {}, names)

    names: dict[str, str | bool] = {"true": "spam", "false": "ham"}
    for value in (True, "true", "True"):
        assert named(value, names) == {"prompt": "a", "completion": "spam"}
    for value in (False, "false", "FALSE"):
        assert named(value, {"True": "spam", "False": "ham"})["completion"] == "ham"  # as Python writes them
    assert named(1, {"1": True})["completion"] == "true"  # as text
    why = r"a\.csv:7: y is 'maybe', which labels does not name\. It names true, false"
    with pytest.raises(BadInput, match=why):
        shaped({"t": "a", "y": "maybe"}, {"completion": "y"}, names)


GOOD = [(True, True), (0, False), (1, True), ("false", False), ("True", True), ("0", False)]


@pytest.mark.parametrize(("label", "is_good"), GOOD)
def test_good_and_bad_answers_by_numbers_and_words(label: Any, is_good: bool, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b", "label": label}))
    (row,) = sources.read(Source(path=str(tmp_path / "a.jsonl")), None, ("labelled",))
    assert isinstance(row.record, Labelled) and row.record.is_good is is_good


def test_good_and_bad_answers_by_names_of_their_own_and_turns_as_json_in_a_cell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,a,rating\nx,y,up\nx,z,down\n")
    source = Source(
        path=str(tmp_path / "a.csv"),
        columns={"prompt": "q", "completion": "a", "label": "rating"},
        labels={"up": True, "down": False},
    )
    found = [row.record for row in sources.read(source, None, ("labelled",))]
    assert [one.is_good for one in found if isinstance(one, Labelled)] == [True, False]
    # a list of turns as JSON in a cell
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    cell = json.dumps(turns).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'id,chat\n1,"{cell}"\n')
    (row,) = sources.read(Source(path=str(tmp_path / "a.csv"), columns={"messages": "chat"}), None)
    assert row.conversation.answer == "Ho"


def test_an_unknown_column_lists_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer,topic\na,,c\n")
    for prompt, said in (
        ("qestion", "Did you mean question? The columns are question, answer, topic"),
        ("{topic} {xyz}", "columns.prompt names the column 'xyz', which does not exist."),
        ("question", "completion is missing. completion is the column 'answer'."),
    ):
        named = {"prompt": prompt, "completion": "answer"}
        with pytest.raises(BadInput) as caught:
            sources.read(Source(path=str(tmp_path / "a.csv"), columns=named), None)
        assert str(caught.value).startswith("a.csv:2: co") and said in str(caught.value)


def test_a_column_in_a_mapping_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"data": {"q": "a", "a": "b"}}\n')
    source = Source(path=str(tmp_path / "a.jsonl"), columns={"prompt": "data.q", "completion": "data.a"})
    with pytest.raises(BadInput, match=r"'data\.q', which does not exist\. data is a mapping"):
        sources.read(source, None)


SHAPES = {
    "conversation": [
        ([{"id": 1, "question": "a", "answer": "b"}], Conversation),
        ([{"Customer Query": "a", "Agent Response": "b"}], Conversation),
        ([{"customer_query": "a", "agent_response": "b"}], Conversation),
        ([{"frage": "a", "antwort": "b"}], Conversation),
        ([{"text": "a", "label": 0}, {"text": "b", "label": 2}, {"text": "b", "label": 10}], Conversation),
        ([{"text": "a", "label": True}, {"text": "b", "label": False}], Conversation),
        ([{"text": "a", "label": "sport"}], Conversation),
        ([{"null": "a", "true": "yes"}], Conversation),
        ([{"chat": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}], Conversation),
        ([{"turns": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}], Conversation),
        ([{"question": "a", "answer": 17}], Conversation),
        ([{"id": "x1", "claim": "a", "evidence": "b", "verdict": "supported"}], Conversation),
        ([{"instruction": "a", "context": "b", "response": "c", "topic": "d"}], Conversation),
        ([{"clause": "a", "kind": "liability", "licence": "MIT"}], Conversation),
    ],
    "preference": [
        ([{"question": "a", "better": "b", "worse": "c"}], Preference),
        ([{"prompt": "a", "response_a": "b", "response_b": "c"}], Preference),
        (
            [{"prompt": "a", "response_a": "b", "response_b": "c", "winner": winner} for winner in "ab"],
            Preference,
        ),
        ([{"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 1}], Preference),
    ],
    "labelled": [([{"question": "a", "response": "b", "rating": 1}], Labelled)],
    "text": [([{"id": "x1", "body": "a"}], Text), ([{"title": "a", "clause": "long"}], Text)],
    "prompt": [([{"question": "a", "solution": "b"}], Prompt), ([{"question": "a", "answer": 17}], Prompt)],
}


@pytest.mark.parametrize(
    ("kind", "rows", "record"),
    [(kind, rows, record) for kind, cases in SHAPES.items() for rows, record in cases],
)
def test_what_the_error_prints_is_pasted_and_works(kind, rows, record, tmp_path):
    """As a user would: the lines go after the path, in a recipe and as --set."""
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadInput, match="no format fits a row") as caught:
        sources.read(Source(path=str(file)), None, (kind,))
    lines = caught.value.hint.partition("take it as --columns): ")[2]
    recipe = resolve_text(f"recipe: 1\nextends: lora\ndata: {{train: [{{path: {file}, {lines}}}]}}\n").recipe
    found = sources.read(recipe.data.train[0], None, (kind,))
    assert [type(row.record) for row in found] == [record] * len(rows)


def test_the_answer_that_a_column_names_is_the_better_one(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "response_a": "x", "response_b": "y", "winner": winner} for winner in "ab"]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    named = {"prompt": "prompt", "chosen": "response_a", "rejected": "response_b", "label": "winner"}
    source = Source(path=str(tmp_path / "a.jsonl"), columns=named, labels={"a": True, "b": False})
    found = [row.record for row in sources.read(source, None, ("preference",))]
    assert [(one.chosen, one.rejected) for one in found if isinstance(one, Preference)] == [
        ("x", "y"),
        ("y", "x"),
    ]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        (
            {"chosen": "a", "rejected": "b"},
            "conversation",
            "Such rows are learned by dpo (extends); here, write ",
        ),
        (
            {"body": "a"},
            "conversation",
            "learned by continued-pretraining (extends) with columns: {text: body}",
        ),
        ({"q": "a", "answer": "b"}, "preference", "learned by sft (extends) with columns: {prompt: q, "),
    ],
)
def test_rows_for_another_objective_name_it(
    row: dict[str, str], kind: Any, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(BadInput) as caught:
        sources.read(Source(path=str(tmp_path / "a.jsonl")), None, (kind,))
    assert said in caught.value.hint


def test_labels_are_printed_for_their_names_and_kept_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"row,{number % 3}\n" for number in range(9)))
    with pytest.raises(BadInput) as caught:
        sources.read(Source(path=str(tmp_path / "a.csv")), None)
    labels = "labels: {0: name of 0, 1: name of 1, 2: name of 2}"
    assert caught.value.hint.endswith(f"columns: {{prompt: text, completion: label}}, {labels}")
    train = "[{path: a.csv, labels: {0: no, 1: 'yes', true: false}}]"
    loaded = resolve_text(f"recipe: 1\nextends: lora\ndata: {{train: {train}}}\n")
    assert loaded.recipe.data.train[0].labels == {"0": "no", "1": "yes", "true": False}
    assert loaded.resolved["data"]["train"][0]["labels"] == {"0": "no", "1": "yes", "true": False}


@pytest.mark.parametrize(
    ("written", "said"),
    {
        "columns: {promt: q}": "rows have no key 'promt'. Write KEY: COLUMN, such as prompt: question. Did you mean",
        "columns: {question: prompt}": "rows have no key 'question'. Write KEY: COLUMN",
        "columns: {prompt: 'a {q'}": "columns.prompt has a { that stands alone. Write {column} for a column",
        "columns: {prompt: '{{q}}'}": "columns.prompt names no column.",
        "columns: {text: q}, labels: {0: a}": "labels has no effect",
        "columns: [a]": "data.train[0].columns is ",
        "labels: {0: 1}": "data.train[0].labels.0 is ",
    }.items(),
)
def test_what_can_not_be_is_refused_with_its_line(written: str, said: str) -> None:
    text = f"recipe: 1\nextends: lora\ndata:\n  train:\n    - {{path: a.csv, {written}}}\n"
    with pytest.raises(RecipeError) as caught:
        resolve_text(text, label="mine.yaml")
    assert str(caught.value).startswith("mine.yaml:5: ") and said in str(caught.value)


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "a", "completion": "b", "role": "x"}
    with pytest.raises(BadInput, match=r"a\.csv:7: labels has no effect: the row has no label, .* or answer"):
        shaped({"text": "a"}, {}, {"0": "bad"})
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    source = Source(
        path=str(tmp_path / "a.jsonl"),
        columns={"prompt": "prompt", "completion": "completion", "system": "role"},
    )
    with pytest.raises(BadInput, match=r"columns\.system has no effect: rows of prompt-completion") as caught:
        sources.read(source, None)
    assert "instruction and output" in caught.value.hint
    (kept,) = sources.read(Source(path=str(tmp_path / "a.jsonl")), None)
    assert sources.unused_sentence("a.jsonl", [kept]) == "a.jsonl: not used: role"


def test_a_target_of_texts_with_a_label_asks_which_is_scored(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "It flickers.", "label": 0}\n{"text": "Fine.", "label": 1}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl:1: has a text and its label") as caught:
        target_rows.read(target := Target(path=str(file)), target.source, Home(tmp_path))
    assert (
        "columns: {prompt: text, completion: label}, labels: {0: name of 0, 1: name of 1}"
        in caught.value.hint
    )
    answered = Target(path=str(file), metric=("exact_match",))
    with pytest.raises(BadInput, match="only the text would be scored") as caught:
        target_rows.read(answered, answered.source, Home(tmp_path))
    assert caught.value.hint.endswith("labels: {0: name of 0, 1: name of 1} to score the label.")
    as_text = Target(path=str(file), columns={"text": "text"})
    rows = target_rows.read(as_text, as_text.source, Home(tmp_path))
    assert [row.record for row in rows] == [Text("It flickers."), Text("Fine.")]


def test_a_fault_names_all_rows_that_have_it(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": 5 if number in (3, 7) else "b"} for number in range(10)]
    rows[5]["completion"] = ""
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadInput, match=r"a\.jsonl:4: completion is a number") as caught:
        sources.read(Source(path=str(tmp_path / "a.jsonl")), None)
    assert caught.value.hint.startswith(
        "2 of 10 rows (at 4, 8). finetop lint a.jsonl --fix FIXED removes such rows. "
    )


def test_a_fault_behind_columns_prints_the_lint_that_reads_them(tmp_path: Path) -> None:
    rows = [{"Q": "a", "A": "b", "vote": vote} for vote in ("up", "tie", "down")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = {
        "columns": {"prompt": "Say:\n{Q}", "completion": "A", "label": "vote"},
        "labels": {"up": True, "down": False},
    }
    with pytest.raises(BadInput, match=r"vote is 'tie'") as caught:
        sources.read(Source(path=str(tmp_path / "a.jsonl"), **given), None, ("labelled",))
    command = caught.value.hint.partition("(at 2). ")[2].partition(" removes")[0]
    words = shlex.split(command)
    assert words[:4] == ["finetop", "lint", "a.jsonl", "--columns"] and words[5:] == ["--fix", "FIXED"]
    assert columns_of(words[4]) == given


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (("good", "bad"), "labels: {bad: false, good: true}"),
        (("A1", "B7"), "labels: {A1: true if it is good, B7: true if it is good}"),
        (("good", "true"), ""),
    ],
)
def test_labels_of_good_and_bad_answers_are_printed_to_paste(
    tmp_path: Path, values: tuple[str, ...], line: str
) -> None:
    rows = [{"prompt": "a", "completion": "b", "label": value} for value in values]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(BadInput, match="label is '") as caught:
        sources.read(Source(path=str(tmp_path / "a.jsonl")), None, ("labelled",))
    assert (f"Write beside path: {line}." in caught.value.hint) == bool(line)
