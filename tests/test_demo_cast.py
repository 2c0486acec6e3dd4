"""The recording in docs is whole: a terminal that replays it shows the story's screens, in their order."""

import json
from itertools import pairwise
from pathlib import Path

import pyte
import pytest

CAST = Path(__file__).resolve().parents[1] / "docs" / "demo.cast"
LINES = CAST.read_text(encoding="utf-8").splitlines()
HEADER, EVENTS = json.loads(LINES[0]), [json.loads(line) for line in LINES[1:]]
# What stands on a screen of each scene and, all together, on none before it.
STORY = {
    "queue": ("$ finetop demo", ),
    "waits": ("3 Queue", "demo-lora", "demo-full-hot"),
    "watch": ("metrics", "samples", "drift", "step"),
    "regress": ("REGRESSED", "points lost", "McNemar"),
    "triage": ("worst first", "NEW"),
    "item": ("── question", "tuned model's answer"),
    "remedy": ("Remedies for demo-full-hot", "half-way to the base"),
}  # fmt: skip


def test_it_is_a_recording_of_version_2() -> None:
    assert (HEADER["version"], HEADER["width"], HEADER["height"]) == (2, 120, 40)
    assert {kind for _, kind, _ in EVENTS} == {"o", "m"}
    assert CAST.stat().st_size < 400_000


def test_time_goes_on_and_nobody_waits_long() -> None:
    times = [at for at, _, _ in EVENTS]
    steps = [later - sooner for sooner, later in pairwise([0.0, *times])]
    assert min(steps) >= 0
    assert max(steps) <= 1.6


@pytest.mark.parametrize("cast", sorted(CAST.parent.glob("*.cast")), ids=lambda path: path.stem)
def test_it_names_no_folder_of_the_machine_that_made_it(cast: Path) -> None:
    events = [json.loads(line) for line in cast.read_text(encoding="utf-8").splitlines()[1:]]
    said = "".join(text for _, _, text in events)
    assert not [path for path in ("/tmp", "/root", "/home", "/work") if path in said]


@pytest.mark.slow  # a terminal is drawn anew for each of its lines
def test_it_shows_the_story_in_its_order() -> None:
    screen = pyte.Screen(HEADER["width"], HEADER["height"])
    stream = pyte.Stream(screen)
    left = list(STORY.items())
    for _, kind, text in EVENTS:
        if kind == "o":
            stream.feed(text)
        shown = "\n".join(screen.display)
        if all(words in shown for words in left[0][1]) and left.pop(0) and not left:
            break
    assert not left, f"never shown: {left[0][0]}"
