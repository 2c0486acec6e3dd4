"""Documents cut into chunks: nothing is lost, nothing is too long, and headings are included."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from finetop.core.data.retrieval import chunks
from finetop.core.data.retrieval.documents import Document


def cut(text: str, words: int = 12, overlap: int = 0, *, is_row: bool = False) -> list[chunks.Chunk]:
    document = Document("tent.md", 1, "", text, "tent", is_row)
    return list(chunks.cut(document, words, overlap))


MANUAL = """# Dome

Sleeps two people.

## Set up

Stake it down at the corners first. Then raise both poles together.

Pull the lines.

## Care

Dry it well.
"""


def test_headings_come_along() -> None:
    found = cut(MANUAL, words=14)
    assert [(one.place, one.text) for one in found] == [
        ("tent.md:3", "Dome\nSleeps two people."),
        ("tent.md:5", "Dome\nSet up\nStake it down at the corners first. Then raise both poles together."),
        ("tent.md:9", "Dome > Set up\nPull the lines.\nCare\nDry it well."),
    ]
    assert {one.title for one in found} == {"Dome"}
    assert cut("Dome\n- two doors\n- one room")[0].text == "Dome\n- two doors\n- one room"
    dry = "Dry it well, and keep it far from every fire."
    found = cut(f"Dome\n====\n\nTwo doors.\n\nCare\n----\n\n{dry}", words=10)
    assert [one.text for one in found] == ["Dome\nTwo doors.", f"Dome\nCare\n{dry}"]
    # without a title the file names it
    assert cut("One sentence is all there is.")[0].text == "tent\nOne sentence is all there is."
    # a comment in code is no heading
    assert cut("# Dome\n\n```\n# pitch\nrun\n```\n")[0].text == "Dome\n```\n# pitch\nrun\n```"


def test_what_goes_on_repeats_the_end_and_a_row_has_one_place() -> None:
    text = "Dome\n\nOne two three four. Five six seven eight.\n\nNine ten eleven twelve."
    found = cut(text, words=8, overlap=4)
    assert [one.text for one in found] == [
        "Dome\nOne two three four. Five six seven eight.",
        "Dome\nFive six seven eight.\nNine ten eleven twelve.",
    ]
    # a row has one place
    found = cut("Dome\n\n" + "\n\n".join(["one two three four five six"] * 4), is_row=True)
    assert {one.place for one in found} == {"tent.md:1"}
    assert len(found) == 2
    # scripts without spaces
    found = cut("テントは二人用です。" * 20, words=30)
    assert len(found) > 5
    assert all(chunks.count(one.text.removeprefix("tent\n")) <= 30 for one in found)


@given(st.text(st.sampled_from("ab #\n.-=`長"), max_size=300), st.integers(1, 12), st.integers(0, 11))
def test_no_word_is_lost_and_no_chunk_much_too_long(text: str, words: int, overlap: int) -> None:
    found = cut(text, words, min(overlap, words - 1))
    body = [one.text.split("\n") for one in found]
    assert all(chunks.count("\n".join(lines[1:])) <= 2 * words for lines in body)  # plus a heading
    told = {word for one in found for word in chunks.WORD.findall(one.text)}
    assert set(re.findall("[ab]+", text)) <= {part for word in told for part in re.findall("[ab]+", word)}
