"""A worker of lint: reads the rows of blocks, counts their tokens, and asks every finding what it sees in them.

    python -m finetop.core.features.lint.worker < Setup, Block, Block …   > Seen, Seen …

Each message is its length in four bytes, then msgpack. It ends when nothing more comes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.features.lint import findings, lines, row as rows
from finetop.core.features.lint.lines import Block
from finetop.core.features.lint.report import SourceRole
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.row_tokens import Meter
from finetop.core.runtime.home import Home


class Setup(msgspec.Struct, frozen=True):
    """What a worker needs to know: findings by name, the sources' roles, the tokenizer's folder."""

    findings: tuple[str, ...]
    sources: tuple[SourceRole, ...]
    lens: Lens
    tokenizer: str | None = None
    template: str | None = None
    # whose objective says what is learned, and `ask` what is put into prompts
    recipe: dict[str, Any] | None = None
    home: str = ""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in a block. `counts` has for each row: tokens, learned, kept, and whether training can read it."""

    at: int
    source: int
    counts: list[tuple[int, int, int, bool]]
    sights: dict[str, list[tuple[int, Any]]]  # by finding: row index in the block, and what was seen


class BlockRunner:
    """Runs the findings on blocks of rows, in this process."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        # Findings with the same `scan` share its results, stored under the name of the first of them.
        rules = map(findings.load, reversed(setup.findings))
        self.rules = {type(rule).scan: rule for rule in rules}.values()
        self.meter = _meter(setup)

    def rows_of(self, block: Block, *, measured: bool = True) -> list[Row]:
        """Read the rows of a block."""
        role = self.setup.sources[block.source]
        kinds = rows.kinds_for(self.setup.lens, role)
        read = []
        for index, (number, line) in enumerate(zip(block.numbers, block.lines, strict=True)):
            raw, place = lines.decoded(line), block.place(index)
            at = block.at + index
            if isinstance(raw, str):
                read.append(rows.unread(at, block.source, number, place, role, raw))
            else:
                read.append(rows.read(raw, block.format, kinds, at, block.source, number, place, role))
        return self.meter.measure(read) if measured else read

    def scan(self, block: Block) -> Seen:
        """Run every finding's `scan` on the rows of a block."""
        read = self.rows_of(block)
        lens = self.setup.lens
        results: dict[str, list[tuple[int, Any]]] = {}
        for rule in self.rules:
            scan = rule.scan
            sights = enumerate(scan(row, lens) for row in read)
            if seen := [(index, sight) for index, sight in sights if sight is not None]:
                results[rule.name] = seen
        counts = [(row.tokens, row.learned, row.kept, row.record is not None) for row in read]
        return Seen(block.at, block.source, counts, results)


def _meter(setup: Setup) -> Meter:
    """Make the token meter, for a recipe's objective and with what its `ask` puts into prompts."""
    if setup.tokenizer is None:
        return Meter(setup.lens, None)
    from finetop.core.models.fast_tokenizer import LightTokenizer

    tokenizer = LightTokenizer(Path(setup.tokenizer), setup.template)
    if setup.recipe is None:
        return Meter(setup.lens, tokenizer)
    from finetop.core.data.prompts import open_asker
    from finetop.core.recipe.load import recipe_from_resolved

    recipe = recipe_from_resolved(setup.recipe)
    asker = open_asker(recipe.ask, recipe.data.train, Home(Path(setup.home)), shots=False)
    return Meter(setup.lens, tokenizer, recipe.objective.options, asker)


def read_message(pipe: IO[bytes]) -> bytes | None:
    """Read one message; None at the end."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "big")
    message = pipe.read(size)
    return message if len(message) == size else None


def write_message(pipe: IO[bytes], message: Any) -> None:
    encoded = msgspec.msgpack.encode(message)
    pipe.write(len(encoded).to_bytes(4, "big"))
    pipe.write(encoded)
    pipe.flush()


def main() -> int:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker uses one core
    first = read_message(sys.stdin.buffer)
    if first is None:
        return 0
    try:
        runner = BlockRunner(msgspec.msgpack.decode(first, type=Setup))
        while (message := read_message(sys.stdin.buffer)) is not None:
            write_message(sys.stdout.buffer, runner.scan(msgspec.msgpack.decode(message, type=Block)))
    except FinetopError as error:
        print(f"finetop: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
