"""What a recipe's `ask` adds to prompts: a system turn, passages, examples; nothing if it is empty."""

import pytest
from tiny_run import write_rows

from finetop.core.data.formats import Conversation, Message, Text
from finetop.core.data.prompts import LEAD, open_asker
from finetop.core.recipe.schema import Ask, Source
from finetop.core.runtime.home import Home

ROWS = [
    ("What opens at nine?", "The shop."),
    ("Can you mend a lamp?", "Yes, lamps too."),
    ("Where are you?", "Behind the station."),
    ("Is there tea?", "There is."),
]


@pytest.fixture
def home(tmp_path):
    documents = "# Tents\nThe tent is six feet tall.\n\n# Boots\nThe boots are of leather.\n"
    (tmp_path / "docs.md").write_text(documents)
    write_rows(
        tmp_path / "rows.jsonl", [{"prompt": question, "completion": answer} for question, answer in ROWS]
    )
    return Home(tmp_path)


def asked(home, ask, *turns, shots=True):
    source = Source(path=str(home.root / "rows.jsonl"))
    asker = open_asker(ask, [source], home, shots=shots)
    prompt = tuple(Message(role, text) for role, text in turns)
    return [(turn.role, turn.content) for turn in asker.asked(Conversation(prompt, "right")).prompt]


def test_the_system_turn_stands_first_joins_the_rows_own_and_plain_texts_ask_nothing(home):
    assert open_asker(Ask(), [], home) is None
    assert open_asker(Ask(shots=3), [], home, shots=False) is None, "rows to learn from get no examples"
    question = ("user", "Hi")
    assert asked(home, Ask(system="Be brief."), question) == [("system", "Be brief."), question]
    joined = asked(home, Ask(system="Be brief."), ("system", "JSON."), question)
    assert joined == [("system", "Be brief.\n\nJSON."), question]
    asker = open_asker(Ask(system="Be brief."), [], home)
    assert asker.asked(Text("once upon a time")) == Text("once upon a time")


def test_passages_that_fit_stand_before_the_question_alone(home):
    ask = Ask(documents=(str(home.root / "docs.md"),), top_k=1, chunk_words=10, overlap_words=0)
    turns = (("user", "How tall is the tent?"), ("assistant", "Which?"), ("user", "The tent."))
    first, last = asked(home, ask, *turns)[::2]
    assert first == ("user", "How tall is the tent?")
    assert last[1].startswith(f"{LEAD}\n\n") and last[1].endswith("\n\nThe tent.") and "six feet" in last[1]
    odd = ("user", "Zebra quagga?")
    assert asked(home, ask, odd) == [odd], "nothing fits: nothing is put"


def test_fixed_examples_are_spread_over_the_rows_and_nearest_ones_end_with_the_most_alike(home):
    fixed = asked(home, Ask(shots=2), ("user", "Hi"))
    assert fixed == [("user", ROWS[0][0]), ("assistant", ROWS[0][1]), ("user", ROWS[2][0]), ("assistant", ROWS[2][1]),
                     ("user", "Hi")]  # fmt: skip
    near = asked(home, Ask(shots=2, pick="nearest"), ("user", "Can you mend my lamp today?"))
    assert near[2:4] == [("user", ROWS[1][0]), ("assistant", ROWS[1][1])]
    own = asked(home, Ask(shots=2, pick="nearest"), ("user", ROWS[1][0]))
    assert (("assistant", ROWS[1][1])) not in own, "a question is not its own example"
