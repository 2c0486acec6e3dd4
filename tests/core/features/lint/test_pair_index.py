"""Rows that resemble others: duplicates, contradictions, leaks and benchmark items, from rows to report."""

from __future__ import annotations

from typing import Any

import pytest
from lint_run import findings_in, lint as lint_files
from tiny_run import chat as row, write_rows

from finetop.core.commands.main import main
from finetop.core.errors import BadInput
from finetop.core.features.lint import pair_index

ONLY = ("duplicates", "near-duplicates", "conflicts", "leaks", "contamination")
LONG = "Brush the coat daily, bathe the dog monthly, trim its nails, clean both ears and clip the hair around the paws."
OTHER = "Interest rates rise when central banks fight inflation; bonds lose value, savers earn more, loans grow dear."


def under(system: str, asked: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": system}, *row(asked, answer)["messages"]]}


def lint(folder, *rows, **asked):
    return findings_in(folder, *rows, **{"only": ONLY, **asked})


def test_copies_and_near_copies_are_found_and_templates_are_not(tmp_path):
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
        {"text": f"{OTHER} And so on, until nobody can say any more what the beginning of it was."},
    )
    assert findings.keys() == {"duplicates", "near-duplicates"}
    assert findings["duplicates"].places == ("a.jsonl:2",)
    assert findings["duplicates"].examples[0].text.startswith("as line 1: ")
    assert findings["near-duplicates"].places == ("a.jsonl:3", "a.jsonl:8")
    assert sum(findings["near-duplicates"].kinds.values()) == 2


def test_contradictions_are_found_and_several_fine_answers_are_not(tmp_path):
    findings = lint(
        tmp_path,
        row("Classify: my card was charged twice for it", "Billing"),
        row("classify: my card was charged twice for it", "Claims"),
        row("How does one groom a poodle?", LONG),
        row("Please, how does one groom a poodle?", OTHER),
        row("Write a poem about spring.", "Buds open upon the bough, lambs leap, and now the snow is gone."),
        row(
            "Write a poem about spring.", "Warm rain falls, green shoots rise; swallows return to the skies."
        ),
        under("English", "Say it.", "Hello there, my friend"),
        under("German", "Say it.", "Guten Tag, mein Freund"),
        {"prompt": "Is it good or bad?", "chosen": "It is good.", "rejected": "It is bad."},
        {"prompt": "Is it good or bad?", "chosen": "It is bad.", "rejected": "It is good."},
    )
    assert findings["conflicts"].places == tuple(f"a.jsonl:{line}" for line in (1, 2, 3, 4, 9, 10))
    shown = findings["conflicts"].examples
    assert [example.place for example in shown] == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:9"], "each pair once"
    assert shown[0].text == "“Billing”, line 2 “Claims”: Classify: my card was charged twice for it"
    assert "…good.”, line 10 “…bad.”" in shown[2].text.replace("It is ", "…"), "from where they differ"


def test_of_long_answers_it_is_shown_where_they_differ(tmp_path):
    answer = "The Alpine Tent weighs, with poles and pegs, {} kg in all."
    rows = [row("What does the Alpine Tent weigh?", answer.format(weight)) for weight in (3.2, 4.9)]
    text = lint(tmp_path, *rows)["conflicts"].examples[0].text
    assert "pegs, 3.2 kg in all.”, line 2 “" in text
    assert "pegs, 4.9 kg in all.”" in text


def test_leaks_from_the_test_are_found_and_an_answer_with_another_number_is_none(tmp_path):
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


def test_one_word_more_in_the_prompt_and_an_answer_to_something_else_contradict_each_other(tmp_path):
    fold = (
        "Take square paper, fold both diagonals, collapse the sheet, shape neck and wings: an origami crane."
    )
    tie = "Stand before a mirror, cross wide end over narrow, pass it through the loop, tighten the knot slowly."
    others = [row(f"Is it generally open on day {number}?", f"Day {number}: yes.") for number in range(9)]
    questions = "how does one make an origami crane", "how does one generally make an origami crane"
    findings = lint(tmp_path, *others, row(questions[0], fold), row(questions[1], tie))
    assert findings["conflicts"].places == ("a.jsonl:10", "a.jsonl:11")
    other = fold.replace("the sheet", "and the sheet generally")
    assert "conflicts" not in lint(tmp_path, *others, row(questions[0], tie), row(questions[1], other))


def test_items_of_benchmarks_are_found(tmp_path, capsys):
    riddle = {
        "id": "r-1",
        "question": "Which process passes genetic information from plants to their offspring?",
    }
    file = write_rows(tmp_path / "riddles.jsonl", [riddle])
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
    # a file that is no benchmark
    other = write_rows(tmp_path / "b.jsonl", [{"x": 1}])
    with pytest.raises(BadInput, match=r"b\.jsonl: no row has a question\."):
        lint(tmp_path, row("Two?", "It is two."), only=("contamination",), against=(str(other),))
    missing = ("--against", str(tmp_path / "c.jsonl"))
    assert main(["--home", str(tmp_path), "lint", str(file), *missing]) == 2
    assert "c.jsonl: no such file." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("most", "number", "told"),
    [
        ("MOST_ROWS", 3, "of 6 different rows to train on the first 3 were compared for near duplicates"),
        ("MOST_PAIRS", 1, "1 of the candidate pairs of rows were compared"),
        ("MOST_LIGHT", 0, "more than 0 pairs of rows ask nearly the same: from a.jsonl:"),
    ],
)
def test_what_is_left_out_where_rows_are_too_many_is_said(most, number, told, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_index, most, number)
    monkeypatch.setattr(pair_index, "STEP", 1)
    asked = ("How does one groom a poodle?", "Why do interest rates rise when central banks fight inflation?")
    rows = [row(f"{before}{entry}", LONG) for entry in asked for before in ("", "Please tell me: ", "Hi! ")]
    report = lint_files(tmp_path, write_rows(tmp_path / "a.jsonl", [*rows, rows[0]]), only=ONLY)
    assert [note for note in report.notes if told in note]
    counts = {entry.name: entry.count for entry in report.findings}
    assert counts["duplicates"] == 1
    assert counts.get("near-duplicates", 0) < 4
