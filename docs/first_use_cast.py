"""Makes docs/first-use.cast, a recording of the README's five minutes on a fresh home.

python docs/first_use_cast.py HOME   # HOME is an empty folder: types each command once the previous one has ended

Each command is a marker in the recording, with its duration in seconds. The runs and checks are real; only pauses
are cut, and waits shown in fast motion. For Linux, as root: the shell gets its own host name.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from demo_cast import ENTER, HEADER, Recording, without_pauses, write

DOCS = Path(__file__).parent
CAST = DOCS / "first-use.cast"
LONGEST_S = 3 * 3600.0  # longest command: a check on two shared cores is slow


def five_minutes() -> list[str]:
    """Return the lines of the README's first commands."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## Five minutes\n\n```sh\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    args = parser.parse_args()
    recording = Recording(args.home)
    recording.fast(10.0, lambda: recording.is_at_prompt)
    marks: list[tuple[float, str, str]] = []
    for line in five_minutes():
        typed_at = recording.now
        recording.press(*line, read_s=0.03)
        began = time.monotonic()
        recording.press(ENTER, read_s=0.2)
        if not recording.fast(LONGEST_S, lambda: recording.is_at_prompt):
            sys.exit(f"{recording.text}\nnever ended: {line}")
        seconds = time.monotonic() - began
        marks.append((typed_at, "m", f"{line.partition('#')[0].rstrip()}: {seconds:.1f} s"))
        print(marks[-1][2], flush=True)
        recording.look(1.0)
    events = sorted([*marks, *((at, "o", text) for at, text in recording.events)], key=lambda event: event[0])
    write(CAST, {**HEADER, "title": "finetop: the first five minutes"}, without_pauses(events))


if __name__ == "__main__":
    main()
