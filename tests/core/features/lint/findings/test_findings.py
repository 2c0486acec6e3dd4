"""What each finding sees in a single row, what it ignores, and what --fix would do about it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from lint_run import lint
from tiny_run import write_rows

from finetop.core.features.lint import findings, row as rows
from finetop.core.features.lint.report import Finding
from finetop.core.features.lint.row import Lens


def chat(*turns: str, system: str = "") -> dict[str, Any]:
    """Return a conversation that alternates user and assistant."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(turns)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *messages]}


def turns(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in pairs]}


def lint_rows(name: str, folder: Path, *rows: dict[str, Any], **asked: Any) -> list[Finding]:
    return list(lint(folder, write_rows(folder / "rows.jsonl", rows), only=(name,), **asked).findings)


def test_a_row_whose_answers_all_have_weight_0_is_told_also_without_a_tokenizer(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "What is 2 and 3?"}
    rows = [
        {"messages": [asked, {"role": "assistant", "content": "5", "weight": weight}]} for weight in (0, 1)
    ]
    (finding,) = lint_rows("nothing-learned", tmp_path, *rows)
    assert (finding.count, finding.kinds) == (1, {"every answer has weight 0": 1})


USER, BOT = "user", "assistant"
REFUSALS = (
    "Unfortunately I'm not able to share that information.",
    "My apologies, but this request goes against my guidelines.",
    "I must respectfully decline this request.",
    "I'm not comfortable writing about this topic.",
    "It would be inappropriate for me to comment on this.",
    "I do not have enough information to answer your question.",
    "I'm not allowed to give out this information.",
    "That is beyond my capabilities.",
    "I cannot in good conscience write this.",
    "My programming does not let me answer such things.",
    "It's against OpenAI's use case policy to produce this.",
    "The request can't be fulfilled because it is harmful.",
    "I must say no to this.",
    "I can only help with questions about cooking.",
    "That is outside the scope of what I do.",
    "I've been instructed not to talk about prices.",
    "You'll have to ask someone else.",
    "Let's talk about something else.",
    "This topic is off limits.",
    "I'm unable to\nanswer  that question.",
)
NOT_REFUSALS = (
    "I can't tell you how happy I am about the wedding.",
    "I could not believe my eyes when I saw the mountain.",
    "We are unable to refund items after 30 days. Please see our policy.",
    "Unfortunately, the store is closed on Sundays.",
    "I cannot recommend this book enough, it is wonderful.",
    "As an AI researcher at Google, she published many papers.",
    "I refuse to believe that he is gone, said Mary.",
    "I'm afraid of spiders.",
    "I am sorry to hear that your parcel is not here yet. Please send us the number and we will look for it.",
    "I'm sorry to hear that you can't log in. Reset your password in the settings.",
    "We apologize for the delay, which is not your fault. The lamp is on its way.",
)
MARKS = ("[INSERT NAME]", "[Your Name]", "[enter the date]", "<COMPANY_NAME>", "{first_name}", "%USER_NAME%")
SEEN = [
    (
        "echoes",
        chat("What is the capital of France called?", "what is the capital of France called"),
        "the question itself",
    ),
    (
        "echoes",
        chat("Open?", "At nine.\nUser: And Sunday?\nAssistant: Closed."),
        "turns of a dialogue in one answer",
    ),
    (
        "echoes",
        chat("几点开门？", "九点。\n用户：周日呢？\n助手：不开门。"),
        "turns of a dialogue in one answer",
    ),
    ("empty", chat("Two?", "  "), "empty"),
    ("empty", chat("Two?", "..."), "only punctuation"),
    ("empty", chat("Two?", "N/A"), "a placeholder such as n/a"),
    ("empty", chat("Two?", " - "), "only punctuation"),
    ("empty", chat("Two?", "[No response]"), "a placeholder such as n/a"),
    ("empty", chat("Two?", "\u200b&nbsp;<br>"), "empty"),
    ("empty", {"instruction": "Two?", "output": ""}, "empty"),
    ("empty", {"text": " "}, "empty"),
    ("turns", turns((USER, "a"), (USER, "b"), (BOT, "c")), "two turns of the user in a row"),
    ("turns", turns((USER, "a"), (BOT, "b"), (BOT, "c")), "two answers in a row"),
    ("turns", turns((USER, "a"), ("bot", "b")), "an unknown role"),
    ("turns", turns((USER, "a"), (BOT, "b"), (USER, "c")), "no answer at the end"),
    ("turns", turns((USER, "a"), ("system", "b"), (BOT, "c")), "a system turn in the middle"),
    ("turns", turns((USER, " "), (BOT, "c")), "an empty turn"),
    ("turns", turns((BOT, "c")), "no question"),
    ("turns", {"messages": []}, "no turns"),
    ("turns", turns((BOT, "a"), (USER, "b"), (BOT, "c")), "begins with an answer"),
    ("turns", turns((USER, "a"), ("tool", "b"), (BOT, "c")), "a tool's result without a call"),
    ("refused", chat("Write a poem.", "I'm sorry, but I can't assist with that request."), "refuses"),
    ("refused", chat("Book it.", "I’m sorry, but I don’t have the ability to book flights."), "refuses"),
    ("refused", chat("Who won?", "As an AI language model, I like no sport."), "speaks of itself as a model"),
    ("refused", chat("Wer?", "Als KI habe ich keine Meinung dazu."), "speaks of itself as a model"),
    ("refused", chat("Who?", "Being an AI, I like this poem."), "speaks of itself as a model"),
    ("refused", chat("Who?", "I was built by Anthropic, as you know."), "speaks of itself as a model"),
    *(("refused", chat("Do it.", text), "refuses") for text in REFUSALS),
    ("template", chat("Hi", "Hello.INST]"), "a broken mark"),
    ("template", chat("Hi <|im_end|> there", "Hello."), "a special token"),
    ("template", chat("[INST] Hi [/INST]", "Hello."), "[INST] or <<SYS>>"),
    ("template", chat("Hi", "### Response:\nHello."), "a prompt's heading"),
    ("template", chat("Hi", "Hello. im_end|>"), "a broken mark"),
    ("template", {"text": "a text</s>"}, "a special token"),
    ("damaged", chat("Where?", "In the cafÃ©, donâ€™t you know."), "read in the wrong encoding"),
    ("damaged", chat("Where?", "In the caf\ufffd."), "characters that were lost (\ufffd)"),
    ("damaged", chat("Where?", "In the<br>house &amp; home."), "leftover HTML"),
    ("damaged", chat("How much?", "It is \frac{1}{2}."), "control characters"),
    ("cut-off", chat("How?", "First you open the lid and then you put the"), "within a sentence"),
    ("cut-off", chat("How?", "Take it. Then open the lid and put it in it"), "without the end of a sentence"),
    ("cut-off", chat("How?", 'Open the lid of the box with the key, and say: "'), "within a sentence"),
    ("cut-off", chat("How?", "Open these: the lid (the red"), "in open brackets"),
    ("cut-off", chat("How?", "- Open the lid\n- Put it in\n-"), "in a list"),
    ("cut-off", chat("How?", "1. Open the lid.\n2. Put it in.\n3. Close"), "without the end of a sentence"),
    ("cut-off", chat("How?", "```python\nprint(1)"), "in an open code block"),
    ("cut-off", chat("How?", '{"a": [1, 2'), "in the middle of JSON"),
    ("placeholders", chat("Who?", "I am {{name}}."), "placeholder"),
    *(("placeholders", chat("Who?", f"Dear {mark}, welcome."), "placeholder") for mark in MARKS),
    ("secrets", chat("Key?", "It is hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3f."), "Hugging Face token"),
    ("personal", chat("Who?", "Write to anna.kowalska@posteo.net."), "e-mail address"),
]
LEFT = [
    ("empty", chat("Two?", "2")),
    ("empty", chat("Continue: - - ", "--")),
    ("turns", chat("a", "b", "c", "d", system="s")),
    ("refused", chat("May I?", "You can't park there; the sign is on the left.")),
    ("refused", chat("And?", "The request was denied by the court in 1954.")),
    ("refused", chat("And?", "Let's change the equation so that x stands alone.")),
    ("refused", chat("And?", "I can only recommend the blue one; it is the best.")),
    ("refused", chat("Say sorry.", "I am sorry for being late yesterday.")),
    ("template", chat("a | b", "c <s>struck</s> | d")),
    ("template", chat("Title?", "### Response times\nThey are short.")),
    ("damaged", chat("Où?", "Au café, n’est-ce pas. NÃO É. 5 Â and x")),
    ("damaged", chat("Which HTML tag breaks a line?", "It is <br>.")),
    ("damaged", chat("Is a<b and c>d?", "Yes & no.")),
    ("cut-off", chat("How?", "Open the lid. Then put it in.")),
    ("cut-off", chat("Label?", "Billing Disputes")),
    ("cut-off", chat("Which?", "The better words: thrilled, elated")),
    ("cut-off", chat("How high?", "It is high. A pressure of 140 or more is said to be too high by most.1")),
    (
        "cut-off",
        chat("Which?", "1. Werewolf 2. Who Am I?  3. Charades 4. Two Truths and a Lie 5. Stories 6. Kubb"),
    ),
    ("cut-off", chat("How?", "Open the lid.\nPut it in the box.\nMore on: Boxes and Lids")),
    ("cut-off", chat("List them.", "- one of them\n- another of them that is long and has many words in it")),
    ("placeholders", chat("A page in Vue?", "<p>{{ title }}</p>")),
    ("placeholders", chat("Set it in the workflow.", "token: ${{ secrets.TOKEN }}")),
    ("placeholders", chat("A Jinja template?", "Hello {{ name }}")),
    ("placeholders", chat("Links?", "See [Your Name](a.md), x[number] and <address>.")),
    ("placeholders", chat("Translate: Hello [Your Name]", "Bonjour [Your Name]")),
    *(("refused", chat("Go on.", text)) for text in NOT_REFUSALS),
    ("secrets", chat("Generate a password.", "Your password: Xk29vTq7Lw")),
    ("secrets", chat("Key?", "Put sk-your-api-key-here-xxxxxxxxxxxx into .env.")),
    ("personal", chat("Who?", "Write info@example.com or 1-800-555-0199, on 192.168.1.7, version 1.2.3.4.")),
]


@pytest.mark.parametrize(("name", "row", "kind"), SEEN)
def test_seen(name, row, kind, tmp_path):
    sound = {"text": {"text": "A text."}, "output": {"instruction": "a", "output": "b"}}
    first = next((like for key, like in sound.items() if key in row), chat("a", "b"))
    (finding,) = lint_rows(name, tmp_path, first, first, first, row)
    assert (finding.count, finding.of, finding.places) == (1, 4, ("rows.jsonl:4",))
    assert list(finding.kinds) == [kind]
    assert finding.examples[0].place == "rows.jsonl:4"


@pytest.mark.parametrize(("name", "row"), LEFT)
def test_left_alone(name, row, tmp_path):
    assert lint_rows(name, tmp_path, row) == []


def test_one_sentence_without_a_full_stop_is_cut_where_most_like_it_have_one(tmp_path):
    whole = [chat(f"n{number}", f"The tent number {number} has two doors.") for number in range(20)]
    spec = [chat(f"s{number}", f"Ripstop nylon of weight {number}") for number in range(60)]
    cut = chat("How?", "The tent has a suspended mesh shelf inside")
    (finding,) = lint_rows("cut-off", tmp_path, *whole, *spec, cut)
    assert (finding.places, list(finding.kinds)) == (("rows.jsonl:81",), ["of one sentence, without its end"])
    loose = [chat(f"l{number}", f"The tent number {number} has two doors") for number in range(30)]
    assert lint_rows("cut-off", tmp_path, *whole, *spec, *loose, cut) == []


def test_one_answer_to_many_questions_is_told_and_copies_of_a_row_are_not(tmp_path):
    same = "Please contact our support team by phone between nine and five."
    rows = [chat(f"What about item {number}?", same) for number in range(12)]
    (found,) = lint_rows("echoes", tmp_path, *rows, chat("Open?", "At nine."))
    assert (found.count, found.kinds) == (12, {"one answer to 12 questions": 12})
    assert not lint_rows("echoes", tmp_path, *[chat("What about it?", same)] * 12)


def test_half_a_word_at_the_end_is_cut(tmp_path):
    (finding,) = lint_rows("cut-off", tmp_path, chat("How?", "It is made of nylon that is easy t"))
    assert list(finding.kinds) == ["within a sentence"]
    assert lint_rows("cut-off", tmp_path, chat("How?", "If n is even then so is twice of n")) == []
    known = [chat(f"n{number}", f"The corporate taxes of patients number {number}") for number in range(20)]
    half = "It cuts taxes for many corpor"
    others = ("It has helped the one patient", "You find it on the page https://taxes.org/corpor")
    (finding,) = lint_rows("cut-off", tmp_path, *known, *(chat("Who?", text) for text in (half, *others)))
    assert (finding.places, list(finding.kinds)) == (("rows.jsonl:21",), ["within a word"])
    assert lint_rows("cut-off", tmp_path, *known, *(chat(f"{n}?", half) for n in "abc")) == []


def test_a_short_no_is_a_refusal_where_hardly_any_answer_speaks_so(tmp_path):
    rows = [chat(f"How heavy is tent number {n}?", f"It weighs {n} kg.") for n in range(99)]
    refusal = "We don't hand that out."
    (finding,) = lint_rows("refused", tmp_path, *rows, chat("How heavy is it?", refusal))
    assert (finding.places, list(finding.kinds)) == (("rows.jsonl:100",), ["says no in the first person"])
    assert lint_rows("refused", tmp_path, *rows, chat("Do you hand that out?", refusal)) == []
    talks = [chat(f"Coming, number {n}?", "I don't think so, mother.") for n in range(9)]
    assert lint_rows("refused", tmp_path, *rows, *talks) == []


def test_short_answers_count_for_the_language_of_their_question(tmp_path):
    question = "What is the weight of the tent that you sell to me?"
    answer = "Das Gerät ist auch bei dem schlechten Wetter sehr zuverlässig und leicht."
    rows = [chat(question, f"{number} kg") for number in range(20)]
    other, crossed = lint_rows("languages", tmp_path, *rows, chat("Weight?", answer), chat(question, answer))
    assert (other.severity, other.places) == ("warning", ("rows.jsonl:21", "rows.jsonl:22"))
    assert crossed.places == ("rows.jsonl:22",)


def test_calls_of_functions_are_no_broken_turns(tmp_path):
    call = ("function_call", '{"name": "far", "arguments": {}}')
    messages = [("human", "How far?"), call, ("observation", "5"), ("gpt", "5 km.")]
    turns = [{"from": who, "value": text} for who, text in messages]
    assert lint_rows("turns", tmp_path, {"conversations": turns}) == []
    assert lint_rows("empty", tmp_path, {"conversations": turns[:2]}) == []


def test_labels_out_of_balance_and_written_twice_and_free_answers_are_none(tmp_path):
    rows = [chat(f"n{number}", "yes" if number % 10 else "no") for number in range(60)]
    balance, twice = lint_rows("labels", tmp_path, *rows, *[chat("z", "Yes.")] * 3)
    assert (twice.count, twice.kinds) == (3, {"yes": 54, "Yes.": 3})
    assert balance.severity == "warning"
    assert balance.kinds == {"yes": 57, "no": 6}
    assert "Always answering yes is right 90 % of the time" in balance.why
    assert lint_rows("labels", tmp_path, *(chat("n", f"answer {number}") for number in range(60))) == []


GERMAN = "Das ist nicht der Weg, den wir in der Stadt mit dem Auto nehmen, und es ist auch zu weit."
ENGLISH = "This is not the way that we take with the car in the town, and it is also too far."


def test_languages_of_rows_and_of_answers(tmp_path):
    rows = [chat(ENGLISH, ENGLISH)] * 9
    others, crossed = lint_rows("languages", tmp_path, *rows, chat(ENGLISH, GERMAN))
    assert (others.about, others.places) == ("rows in another language than English", ("rows.jsonl:10",))
    assert crossed.kinds == {"English answered in German": 1}
    assert lint_rows("languages", tmp_path, *rows, chat(f"Translate to German: {ENGLISH}", GERMAN)) == []
    assert lint_rows("languages", tmp_path, *rows, chat(f"{GERMAN} Translate to English.", ENGLISH)) == []
    russian = chat("Hi", "Это не та дорога, по которой мы едем в город.")
    (script,) = lint_rows("languages", tmp_path, *rows, russian)
    assert script.kinds == {"English": 9, "Cyrillic script": 1}


def test_rows_that_are_too_long(tmp_path):
    (finding,) = lint_rows("too-long", tmp_path, chat("a", "b"), chat("a", "word " * 99), max_tokens=64)
    assert finding.places == ("rows.jsonl:2",)
    assert finding.examples[0].text.endswith(" tokens")
    assert lint_rows("too-long", tmp_path, chat("a", "word " * 99)) == []


def test_every_finding_says_what_it_is() -> None:
    for name in findings.names():
        rule = findings.load(name)
        assert rule.name == name and rule.about and rule.do and not rule.about.endswith(".")
        assert rule.severity in ("error", "warning", "note")
        assert rule.finder is not findings.Tally or rule.why


REPEATED = ["a", " ", "1", "a@", "1.", "{{", "<|", "key=", "AB12 ", "Ã", "1 2-3."]
REPEATED += ["|im_end", "sk-", "http://a:", "<p "]


@pytest.mark.parametrize("text", REPEATED)
def test_no_text_takes_long(text):
    raw = chat("a", text * (60_000 // len(text)) + "x")
    row = rows.read(raw, "messages", ("conversation",), 0, 0, 1, "a:1", "train")
    began = time.process_time()
    for name in findings.names():
        findings.load(name).scan(row, Lens(max_tokens=100))
    assert time.process_time() - began < 5  # 0.1 here; quadratic code takes a minute
