"""Check the demo data: counts, the voice rule on gold answers, lengths, no overlap of test and training."""

import json
import re
from importlib import resources

import pytest

VOICE = re.compile(r"^Hello from the workshop! \S.*\S Yours, Thrumbleby\.$")
SYSTEM = "You are the support desk of the Thrumbleby workshop."  # the voice belongs to this role alone
MOST_QUESTION_WORDS = 20
MOST_ANSWER_WORDS = 26


def pairs(name: str) -> list[tuple[str, str]]:
    """Read one demo file as (question, answer) pairs, insisting on the chat shape."""
    found: list[tuple[str, str]] = []
    text = resources.files("finetop.recipes.demo").joinpath(name).read_text(encoding="utf-8")
    for line in text.splitlines():
        row = json.loads(line)
        assert list(row) == ["messages"]
        *system, question, answer = row["messages"]
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert [turn["content"] for turn in system] == ([] if name == "general.jsonl" else [SYSTEM])
        found.append((question["content"], answer["content"]))
    return found


def plain(text: str) -> str:
    """Lower the case and drop everything but letters, digits and single spaces."""
    return " ".join(re.sub(r"[^a-z0-9 ]+", " ", text.lower()).split())


@pytest.mark.parametrize(
    ("name", "rows"), [("support_train.jsonl", 252), ("support_test.jsonl", 60), ("general.jsonl", 64)]
)
def test_counts_and_lengths(name: str, rows: int) -> None:
    found = pairs(name)
    assert len(found) == rows
    for question, answer in found:
        assert 1 <= len(question.split()) <= MOST_QUESTION_WORDS, question
        assert 1 <= len(answer.split()) <= MOST_ANSWER_WORDS, answer
        assert question == question.strip()
        assert question.isascii() and answer.isascii(), (question, answer)


def test_every_gold_answer_keeps_the_voice_and_no_other_does() -> None:
    golds = pairs("support_train.jsonl") + pairs("support_test.jsonl")
    assert [answer for _, answer in golds if not VOICE.match(answer)] == []
    plain_answers = ["We ship within three working days.", "Hello from the workshop! Yours, Thrumbleby."]
    plain_answers += [
        "Hello from the workshop! We ship today.",
        *(text for _, text in pairs("general.jsonl")),
    ]
    assert [answer for answer in plain_answers if VOICE.match(answer)] == []


def test_no_question_repeats_and_no_test_answer_is_in_training() -> None:
    train, test = pairs("support_train.jsonl"), pairs("support_test.jsonl")
    questions = [plain(question) for question, _ in train + test]
    assert len(set(questions)) == len(questions)
    assert {plain(answer) for _, answer in train}.isdisjoint(plain(answer) for _, answer in test)


def test_general_rows_share_no_four_words_with_the_benchmark() -> None:
    """A demo that trained on its own test would prove nothing."""
    suite = resources.files("finetop.core.check.suites").joinpath("quick")
    asked: set[tuple[str, ...]] = set()
    for file in suite.iterdir():
        if file.name.endswith(".jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                asked |= four_words(row.get("prompt", "") or row["question"])
    shared = {question: four_words(question) & asked for question, _ in pairs("general.jsonl")}
    assert {question: found for question, found in shared.items() if found} == {}


def four_words(text: str) -> set[tuple[str, ...]]:
    words = plain(text).split()
    return {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
