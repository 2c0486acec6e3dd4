"""Defects to plant into rows, one function per kind: in their usual form, and lightly edited, reworded or partly cut.

Written independently of the code that must find them. Each returns a defective row made from a sound one, or None if
the row is unsuitable.
"""

from __future__ import annotations

import copy
import json
import re
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edits import edited

if TYPE_CHECKING:
    import random

Raw = dict[str, Any]


@dataclass
class Planted:
    """A line to plant, and the rows with which it forms a defect."""

    line: str
    partners: list[int] = field(default_factory=list)
    what: str = ""  # what was done
    base: int = -1  # the row that it was made from


@dataclass
class Bed:
    """Where defects are planted: the set's rows, its test rows, and questions and answers of benchmarks."""

    rows: list[Raw]
    tests: list[Raw]
    benchmarks: list[tuple[str, str]]
    _words: set[str] = field(default_factory=set)

    def words(self) -> set[str]:
        """Return all words of the set's rows."""
        if not self._words:
            texts = " ".join(f"{question_of(row)} {answer(row)}" for row in self.rows)
            self._words = set(re.findall(r"[^\W\d_]+", texts.casefold()))
        return self._words


def question_of(row: Raw) -> str:
    """Return a row's question."""
    if "messages" in row:
        return next(turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "user")
    return row["instruction"] + ("\n\n" + row["input"] if row.get("input") else "")


def answer(row: Raw) -> str:
    """Return a row's answer."""
    return row["messages"][-1]["content"] if "messages" in row else row["output"]


def with_texts(row: Raw, question: str | None = None, reply: str | None = None) -> Raw:
    """Return a row with another question or answer."""
    new = copy.deepcopy(row)
    new.pop("question", None)
    new.pop("answer", None)
    if "messages" not in new:
        if question is not None:
            new["instruction"], new["input"] = question, ""
        if reply is not None:
            new["output"] = reply
        return new
    turns = new["messages"]
    for turn in reversed(turns):
        if turn["role"] == "user" and question is not None:
            turn["content"] = question
            break
    if reply is not None:
        turns[-1]["content"] = reply
    return new


def dumped(row: Raw) -> str:
    return json.dumps(row, ensure_ascii=False)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _edited_answer(text: str, rng: random.Random) -> str:
    """Edit an answer half of the time; JSON stays unchanged, as do answers of a few words."""
    if _is_json(text) or len(text.split()) < 4 or rng.random() < 0.5:
        return text
    return edited(text, rng)[0]


def duplicate(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    row = bed.rows[at]
    if not is_edited:
        return Planted(dumped(row), [at])
    question, how = edited(question_of(row), rng)
    return Planted(dumped(with_texts(row, question, _edited_answer(answer(row), rng))), [at], how)


_SAME = {"true": "yes", "correct": "yes", "false": "no", "incorrect": "no"}


def _said(row: Raw) -> str:
    text = answer(row).casefold().strip(" .")
    return _SAME.get(text, text)


def conflict(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant the answer of a row with another question."""
    row = bed.rows[at]
    other = next(
        (
            other_row
            for other_row in rng.sample(bed.rows, min(50, len(bed.rows)))
            if _said(other_row) not in _said(row)
            and _said(row) not in _said(other_row)
            and question_of(other_row) != question_of(row)
        ),
        None,
    )
    if other is None:
        return None
    question, how = edited(question_of(row), rng) if is_edited else (question_of(row), "")
    return Planted(dumped(with_texts(row, question, answer(other))), [at], how)


def leak(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant a test row; every other time with another answer."""
    test = rng.choice(bed.tests)
    row = bed.rows[at]
    question, how = edited(question_of(test), rng) if is_edited else (question_of(test), "")
    reply = answer(test) if rng.random() < 0.5 else answer(row)
    if is_edited and reply == answer(test):
        reply = _edited_answer(reply, rng)
    whole = test if ("messages" in test) == ("messages" in row) else row
    return Planted(dumped(with_texts(whole, question, reply)), [], how or "verbatim")


def contamination(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    question, reply = rng.choice(bed.benchmarks)
    if is_edited:
        question, how = edited(question, rng)
    else:
        how = rng.choice(("alone", "headed", "choices"))
        if how == "headed":
            question = f"Question: {question}\nAnswer:"
        if how == "choices":
            question = f"{question}\nA. {reply}\nB. none of these\nAnswer with a letter."
    return Planted(dumped(with_texts(bed.rows[at], question, reply or "A")), [], how)


def empty(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    words = ("-", "...", "null", "None", "N/A", "\u200b", "<empty>", " . ") if is_edited else ("", " ", "\n")
    return Planted(dumped(with_texts(bed.rows[at], None, rng.choice(words))))


REFUSALS = (
    "I'm sorry, but I can't assist with that.",
    "I cannot help with that request.",
    "As an AI language model, I don't have personal opinions, so I can't answer this.",
    "Sorry, but as an AI I am unable to provide this information.",
    "I'm unable to answer that question.",
    "I apologize, but I cannot fulfill this request.",
    "Unfortunately, I am not able to provide that information.",
    "I'm just an AI assistant and can't do that.",
)
REWORDED = (
    "That is not something I can help with, I'm afraid.",
    "I really am sorry, but answering this goes beyond what I am able to do.",
    "Being an AI model, I have no access to such information.",
    "My apologies, this is a request that I will have to decline.",
    "I won't be able to assist you with that one.",
    "It would not be appropriate for me to answer this.",
    "Regrettably I cannot comply with what you ask.",
    "I do not feel comfortable answering that, and must decline.",
    "Since I am a large language model, I can't know this.",
    "There's no way for me, as an assistant made by OpenAI, to answer.",
)


def refused(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    if not is_edited:
        return Planted(dumped(with_texts(bed.rows[at], None, rng.choice(REFUSALS))))
    if rng.random() < 0.5:
        text, how = edited(rng.choice(REFUSALS), rng)
        return Planted(dumped(with_texts(bed.rows[at], None, text)), what=how)
    text = rng.choice(REWORDED)
    return Planted(dumped(with_texts(bed.rows[at], None, text)), what=f"reworded: {text[:50]}")


def turns(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    if "messages" not in bed.rows[at]:
        return None
    new = copy.deepcopy(bed.rows[at])
    messages = new["messages"]
    ways = (
        ("two users", "two answers", "system later")
        if is_edited
        else ("no answer", "role", "no turns", "empty turn")
    )
    way = rng.choice(ways)
    if way == "two users":
        messages.insert(len(messages) - 1, {"role": "user", "content": "And?"})
    elif way == "two answers":
        messages.append({"role": "assistant", "content": "That is all that there is to say about it."})
    elif way == "system later":
        messages.insert(len(messages) - 1, {"role": "system", "content": "Be brief."})
    elif way == "no answer":
        messages.pop()
    elif way == "role":
        messages[-1]["role"] = rng.choice(("bot", "ai", "", "Assistant"))
    elif way == "no turns":
        messages.clear()
    else:
        messages[-2]["content"] = ""
    return Planted(dumped(new), what=way)


def template(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    whole = (
        "<|im_end|>", "</s>", "<|eot_id|>", "<|im_start|>assistant", "[/INST]", "<|endoftext|>", "### Response:",
    )  # fmt: skip
    cut = (
        "<|im_end", "im_end|>", "|im_start|>", "<|im_start|", "[/INST", "INST]", "<|eot_id|", "< |im_end|>",
    )  # fmt: skip
    mark, text = rng.choice(cut if is_edited else whole), answer(bed.rows[at])
    reply = f"{mark}\n{text}" if mark.startswith(("###", "<|im_start", "|im_start")) else f"{text}{mark}"
    return Planted(dumped(with_texts(bed.rows[at], None, reply)), what=mark)


FOREIGN = (
    "Das Gerät lässt sich mit zwei Handgriffen aufbauen und ist auch bei schlechtem Wetter sehr zuverlässig.",
    "Cet appareil se monte en quelques minutes et il reste très solide, même quand il pleut beaucoup dans la montagne.",
    "Este aparato se puede montar en pocos minutos y es muy resistente, incluso cuando llueve mucho en la montaña.",
    "Questo apparecchio si monta in pochi minuti ed è molto resistente, anche quando piove molto in montagna.",
    "这种设备几分钟就能装好，而且非常结实，即使在山里下大雨的时候也可以放心使用。",
    "Это устройство можно собрать за несколько минут, и оно очень прочное, даже когда в горах идёт сильный дождь.",
    "Dit apparaat kan in een paar minuten worden opgezet en is zeer stevig, ook wanneer het in de bergen hard regent.",
)


def languages(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant another language; edited: after one English sentence, or half as long."""
    text = rng.choice(FOREIGN)
    if is_edited:
        text = f"Here is the answer. {text}" if rng.random() < 0.5 else text[: len(text) * 2 // 3]
    return Planted(dumped(with_texts(bed.rows[at], None, text)), what=text[:20])


def _random(rng: random.Random, letters: str, count: int) -> str:
    return "".join(rng.choice(letters) for _ in range(count))


def secrets(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant keys; edited: without their usual format, recognisable only from the text before them."""
    mixed, capitals = string.ascii_letters + string.digits, string.ascii_uppercase + string.digits
    plain = (
        f"AKIA{_random(rng, capitals, 16)}",
        f"ghp_{_random(rng, mixed, 36)}",
        f"sk-proj-{_random(rng, mixed, 48)}",
        f"xoxb-{_random(rng, string.digits, 12)}-{_random(rng, string.digits, 12)}-{_random(rng, mixed, 24)}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{_random(rng, mixed, 64)}\n{_random(rng, mixed, 64)}",
        f"hf_{_random(rng, string.ascii_letters, 34)}",
    )
    told = (
        f"password: {_random(rng, mixed, 14)}",
        f'api_key = "{_random(rng, mixed, 32)}"',
        f"SECRET_TOKEN={_random(rng, mixed, 24)}",
        f"postgres://admin:{_random(rng, mixed, 12)}@db.example.org:5432/main",
        f"Authorization: Bearer {_random(rng, mixed, 40)}",
    )
    secret = rng.choice(told if is_edited else plain)
    return Planted(
        dumped(with_texts(bed.rows[at], None, f"{answer(bed.rows[at])}\n{secret}")), what=secret[:14]
    )


def _card(rng: random.Random, first: str, between: str) -> str:
    """Return a made-up card number, with its check digit."""
    digits = first + _random(rng, string.digits, 14)
    doubled = "".join(str(int(digit) * (2 - place % 2)) for place, digit in enumerate(digits))
    number = digits + str(-sum(map(int, doubled)) % 10)
    return between.join(number[at : at + 4] for at in range(0, 16, 4))


def personal(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant addresses and numbers; edited: in other notations."""
    name = _random(rng, string.ascii_lowercase, 7)
    digits = _random(rng, "23456789", 10)
    plain = (
        f"{name}.miller@gmail.com",
        f"+1 ({digits[:3]}) {digits[3:6]}-{digits[6:]}",
        _card(rng, "4", " "),
        "DE89 3704 0044 0532 0130 00",
    )
    others = (f"{name}_{digits[:2]}@uni-{name}.ac.uk", f"{digits[:3]}-{digits[3:6]}-{digits[6:]}",
              _card(rng, "5", ""), "GB29NWBK60161331926819", f"+49 30 {digits[:7]}")  # fmt: skip
    sample_text = rng.choice(others if is_edited else plain)
    return Planted(
        dumped(with_texts(bed.rows[at], None, f"{answer(bed.rows[at])} Contact: {sample_text}.")),
        what=sample_text,
    )


def cut_off(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant an answer cut within a sentence or a word; edited: near its end."""
    text = answer(bed.rows[at])
    if len(text.split()) < 15 and not _is_json(text):
        return None
    share = rng.uniform(0.85, 0.97) if is_edited else rng.uniform(0.3, 0.7)
    cut = text[: int(len(text) * share)].rstrip()
    if cut[-1:] in ".!?:" or not (_is_json(text) or _shows(bed, text, cut)):
        return None
    return Planted(dumped(with_texts(bed.rows[at], None, cut)), what=cut[-30:])


def _shows(bed: Bed, text: str, cut: str) -> bool:
    """Return True if a person can see that something is missing.

    That excludes a list with fewer entries, or an entry with fewer words: only a cut within a sentence counts, or half
    a word that is not a word of the set.
    """
    rest = text[len(cut) :].partition("\n")[0]
    if not rest.strip():
        return False
    line = cut.rpartition("\n")[2] + rest
    if line.rstrip(" \"'”’)").endswith((".", "!", "?")) and len(line.split()) >= 4:
        return True
    letters = re.search(r"[^\W\d_]*$", cut)
    assert letters is not None
    return rest[0].isalpha() and bool(letters[0]) and letters[0].casefold() not in bed.words()


def zero_loss(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant a question that leaves no room for its answer: twice as long as what is kept; edited: hardly longer."""
    question = question_of(bed.rows[at])
    words = 1100 if is_edited else 2400
    filler = " ".join(
        rng.choice(("alpha", "stone", "river", "green", "paper", "house")) for _ in range(words)
    )
    return Planted(dumped(with_texts(bed.rows[at], f"{question}\n\n{filler}", None)))


def damaged(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    """Plant leftovers of other encodings and pages; edited: only one such place, within the text."""
    text = answer(bed.rows[at])
    if _is_json(text) or len(text.split()) < 3:
        return None
    spoilt = rng.choice(("it’s", "café", "naïve", "“so”", "—")).encode().decode("cp1252", errors="ignore")
    marks = (
        (spoilt, "&nbsp;", "\x07")
        if is_edited
        else (f"{spoilt} {spoilt}", "<div><br/>&nbsp;</div>", "\ufffd\ufffd")
    )
    mark, words = rng.choice(marks), text.split(" ")
    words.insert(rng.randrange(len(words)), mark)
    return Planted(dumped(with_texts(bed.rows[at], None, " ".join(words))), what=mark)


def placeholders(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    plain = ("{{name}}", "[INSERT DATE]", "[Your Name]", "Lorem ipsum dolor sit amet")
    others = ("{{ customer.first_name }}", "<YOUR COMPANY>", "[insert product here]", "lorem ipsum dolor")
    mark = rng.choice(others if is_edited else plain)
    return Planted(
        dumped(with_texts(bed.rows[at], None, f"{answer(bed.rows[at])} Signed: {mark}")), what=mark
    )


def unreadable(bed: Bed, at: int, rng: random.Random, is_edited: bool) -> Planted | None:
    line = dumped(bed.rows[at])
    if is_edited:
        return Planted(rng.choice((line.replace('"', "'", 2), line + "}", line[:-1] + ",}", f"[{line}]")))
    return Planted(rng.choice(("not json", line[: len(line) // 2], '{"id": 1}', "[1, 2]")))


KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {  # what plants it, and the findings that may report it
    "duplicates": (duplicate, ("duplicates", "near-duplicates")),
    "conflicts": (conflict, ("conflicts",)),
    "leaks": (leak, ("leaks",)),
    "contamination": (contamination, ("contamination",)),
    "empty": (empty, ("empty",)),
    "refused": (refused, ("refused",)),
    "turns": (turns, ("turns",)),
    "template": (template, ("template",)),
    "languages": (languages, ("languages",)),
    "secrets": (secrets, ("secrets",)),
    "personal": (personal, ("personal",)),
    "cut off": (cut_off, ("cut-off",)),
    "zero loss": (zero_loss, ("nothing-learned",)),
    "damaged": (damaged, ("damaged",)),
    "placeholders": (placeholders, ("placeholders",)),
    "unreadable": (unreadable, ("unreadable", "turns", "empty")),
}
