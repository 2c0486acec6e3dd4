"""Rows that resemble others: duplicates, contradictions, leaks and benchmark items, from rows to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetop.core.commands.main import main
from finetop.core.lint import lint as linting, pair_index
from finetop.core.lint.report import Finding, Given, LintRequest
from finetop.core.runtime.home import Home

ONLY = ("duplicates", "near-duplicates", "conflicts", "leaks", "contamination")
LONG = "Brush the coat daily, bathe the dog monthly, trim its nails, clean both ears and clip the hair around the paws."
OTHER = "Interest rates rise when central banks fight inflation; bonds lose value, savers earn more, loans grow dear."


def row(asked: str, answer: str, system: str = "") -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": [{"role": "system", "content": system}, *turns] if system else turns}


def write(path: Path, *rows: dict[str, Any]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    return {"path": str(path)}


def lint(
    folder: Path, *rows: dict[str, Any], test: tuple[dict[str, Any], ...] = (), **asked: Any
) -> dict[str, Finding]:
    sources = [Given("train", write(folder / "a.jsonl", *rows))]
    if test:
        sources.append(Given("test", write(folder / "t.jsonl", *test)))
    only = asked.pop("only", ONLY)
    report = linting.run(LintRequest(tuple(sources), only=only, **asked), Home(folder), lambda *_: None)
    return {finding.name: finding for finding in report.findings}


def test_copies_and_near_copies_are_found_and_templates_are_not(tmp_path: Path) -> None:
    findings = lint(
        tmp_path,
        row("How does one groom a poodle?", LONG),
        row("How does one groom a Poodle", LONG + " "),
        row("Could you help me? How does one properly groom a poodle?", LONG.replace("nails", "nals")),
        row("What is the weight of the Alpine Tent?", "3 kg"),
        row("What is the weight of the Dome Tent?", "3 kg"),
        row("What is the height of the Dome Tent?", "2 m"),
        {"text": f"{LONG} {OTHER}"},
        {"text": f"{LONG.upper()} {OTHER.replace('bonds', 'papers')}"},
        {
            "text": f"{OTHER} And so on, in other words, until nobody can say any more what the beginning of it was."
        },
    )
    assert findings.keys() == {"duplicates", "near-duplicates"}
    assert findings["duplicates"].places == ("a.jsonl:2",)
    assert findings["duplicates"].examples[0].text.startswith("as line 1: ")
    assert findings["near-duplicates"].places == ("a.jsonl:3", "a.jsonl:8")
    assert sum(findings["near-duplicates"].kinds.values()) == 2


def test_contradictions_are_found_and_several_fine_answers_are_not(tmp_path: Path) -> None:
    findings = lint(
        tmp_path,
        row("Classify: my card was charged twice for it", "Billing"),
        row("classify: my card was charged twice for it", "Claims"),
        row("How does one groom a poodle?", LONG),
        row("Please, how does one groom a poodle?", OTHER),
        row("Write a poem about spring.", "Buds open upon the bough, lambs leap, and now the snow is gone."),
        row(
            "Write a poem about spring.",
            "Warm rain falls, green shoots rise; swallows return to milder skies.",
        ),
        row("Say it.", "Hello there, my friend", system="English"),
        row("Say it.", "Guten Tag, mein Freund", system="German"),
        {"prompt": "Is it good or bad?", "chosen": "It is good.", "rejected": "It is bad."},
        {"prompt": "Is it good or bad?", "chosen": "It is bad.", "rejected": "It is good."},
    )
    assert findings["conflicts"].places == tuple(f"a.jsonl:{line}" for line in (1, 2, 3, 4, 9, 10))
    shown = findings["conflicts"].examples
    assert [example.place for example in shown] == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:9"], "each pair once"
    assert shown[0].text == "“Billing”, line 2 “Claims”: Classify: my card was charged twice for it"
    assert "…good.”, line 10 “…bad.”" in shown[2].text.replace("It is ", "…"), "from where they differ"


def test_of_long_answers_it_is_shown_where_they_differ(tmp_path: Path) -> None:
    findings = lint(
        tmp_path,
        row(
            "What does the Alpine Tent weigh?", "The Alpine Tent weighs, with poles and pegs, 3.2 kg in all."
        ),
        row(
            "What does the Alpine Tent weigh?", "The Alpine Tent weighs, with poles and pegs, 4.9 kg in all."
        ),
    )
    assert "pegs, 3.2 kg in all.”, line 2 “" in findings["conflicts"].examples[0].text
    assert "pegs, 4.9 kg in all.”" in findings["conflicts"].examples[0].text


def test_leaks_from_the_test_are_found_and_an_answer_with_another_number_is_none(tmp_path: Path) -> None:
    test = (row("How does one groom a poodle?", LONG), row("What is the weight of the Alpine Tent?", "3 kg"))
    findings = lint(
        tmp_path,
        row("How does one groom a poodle?", LONG),
        row("Tell me: how does one groom a poodle?", "I do not know."),
        row("What is the weight of the Dome Tent?", "3 kg"),
        row("What is the best way to groom a cat?", "Gently."),
        test=test,
    )
    leaks = findings["leaks"]
    assert leaks.places == ("a.jsonl:1", "a.jsonl:2")
    assert leaks.of == 4
    assert leaks.kinds == {"question and answer, as it is": 1, "the question alone, as it is": 1}
    assert "as t.jsonl:1" in leaks.examples[0].text
    test = (row("What is the weight of the CozyNights Sleeping Bag?", "3.5 lbs"),)
    assert lint(tmp_path, row("What is the rating of the CozyNights Sleeping Bag?", "3.5/5"), test=test) == {}


def test_one_word_more_in_the_prompt_and_an_answer_to_something_else_contradict_each_other(
    tmp_path: Path,
) -> None:
    fold = (
        "Take square paper, fold both diagonals, collapse the sheet, shape neck and wings: the origami crane."
    )
    tie = "Stand before a mirror, cross wide end over narrow, pass it through the loop, tighten the knot slowly."
    others = [row(f"Is it generally open on day {number}?", f"Day {number}: yes.") for number in range(9)]
    questions = "how does one make an origami crane", "how does one generally make an origami crane"
    findings = lint(tmp_path, *others, row(questions[0], fold), row(questions[1], tie))
    assert findings["conflicts"].places == ("a.jsonl:10", "a.jsonl:11")
    other = fold.replace("the sheet", "and the sheet generally")
    assert "conflicts" not in lint(tmp_path, *others, row(questions[0], tie), row(questions[1], other))


def test_items_of_benchmarks_are_found(tmp_path: Path) -> None:
    file = tmp_path / "riddles.jsonl"
    write(
        file,
        {"id": "r-1", "question": "Which process passes genetic information from plants to their offspring?"},
    )
    findings = lint(
        tmp_path,
        row("Which process passes genetic data from plants to their offspring?", "pollination"),
        row("Write one sentence about a garden.", "There is a garden."),  # from the suite quick
        row("Which process passes heat from a stove to the air?", "convection"),
        against=(str(file),),
    )
    assert findings["contamination"].kinds == {"riddles": 1, "instructions": 1}
    assert findings["contamination"].places == ("a.jsonl:1", "a.jsonl:2")
    assert "riddles r-1, lightly edited" in findings["contamination"].examples[0].text


def test_a_file_that_is_no_benchmark_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.jsonl", row("Two?", "It is two."))
    write(tmp_path / "b.jsonl", {"x": 1})
    command = (
        "--home",
        str(tmp_path),
        "lint",
        str(tmp_path / "a.jsonl"),
        "--only",
        "contamination",
        "--against",
    )
    assert main([*command, str(tmp_path / "b.jsonl")]) == 2
    assert "b.jsonl: no row has a question." in capsys.readouterr().err
    assert main([*command, str(tmp_path / "c.jsonl")]) == 2
    assert "c.jsonl: no such file." in capsys.readouterr().err


def test_workers_see_what_one_process_sees(tmp_path: Path) -> None:
    rows = [
        row(f"What is it that number n{number} of m{number} does?", f"It does d{number}.")
        for number in range(600)
    ]
    rows += rows[:20]
    assert lint(tmp_path, *rows, workers=1) == lint(tmp_path, *rows, workers=2)


@pytest.mark.parametrize(
    ("most", "number", "told"),
    [
        ("MOST_ROWS", 3, "of 6 different rows to train on the first 3 were compared for near duplicates"),
        ("MOST_PAIRS", 1, "1 of the candidate pairs of rows were compared"),
        ("MOST_LIGHT", 0, "more than 0 pairs of rows ask nearly the same: from a.jsonl:"),
    ],
)
def test_what_is_left_out_where_rows_are_too_many_is_said(
    most: str, number: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_index, most, number)
    monkeypatch.setattr(pair_index, "STEP", 1)
    questions = (
        "How does one groom a poodle?",
        "Why do interest rates rise when central banks fight inflation?",
    )
    rows = [
        row(f"{before}{entry}", LONG) for entry in questions for before in ("", "Please tell me: ", "Hi! ")
    ]
    given = Given("train", write(tmp_path / "a.jsonl", *rows, rows[0]))
    report = linting.run(LintRequest((given,), only=ONLY), Home(tmp_path), lambda *_: None)
    assert [note for note in report.notes if told in note]
    counts = {entry.name: entry.count for entry in report.findings}
    assert counts["duplicates"] == 1
    assert counts.get("near-duplicates", 0) < 4
