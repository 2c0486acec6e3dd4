"""Compares rows and inspects files: `python -m finetop.core.features.data_versions < ASKED > FOUND`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from finetop.core.features.data_versions import current_file, diff
from finetop.core.features.data_versions.lint_record import of_content
from finetop.core.protocol.data_diff import Asked, Difference, Found, Pair

NOT_KEPT = "its row hashes were deleted"


def main() -> int:
    os.nice(5)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    home = Path(request.home)
    lints = [of_content(home, file.sha256) for file in request.files]
    states = map(current_file.state_of, request.files)
    files = [replace(state, lint=lint) for state, lint in zip(states, lints, strict=True)]
    sys.stdout.buffer.write(msgspec.json.encode(Found([compared(pair) for pair in request.pairs], files)))
    return 0


def compared(pair: Pair) -> Difference:
    """Compare the rows of one pair, and find examples of what differs."""
    try:
        before, after = diff.read(pair.before), diff.read(pair.after)
    except OSError:
        return Difference(why_not=NOT_KEPT)
    comparison = diff.compare(before, after, pair.examples)
    if not pair.examples:
        return comparison.difference
    examples, not_found = current_file.examples(comparison, before, after, pair.files)
    return replace(comparison.difference, examples=examples, not_found=not_found)


if __name__ == "__main__":
    raise SystemExit(main())
