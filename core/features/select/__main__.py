"""The process that selects: `python -m finetop.core.features.select HOME < {"data": …, "wanted": […]}`.

It reads the data once to check it, then asks each selector for its order of the rows, and takes from that order's
beginning. What a model says of a row is asked once for all selectors, and kept in the home.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, of_code
from finetop.core.features.select.output import write
from finetop.core.features.select.pool import Pool, open_pool
from finetop.core.features.select.request import Ask, Doing, Selected, TooFew, Trouble, Wanted
from finetop.core.features.select.selectors import Choice, load
from finetop.core.recipe.schema import Source
from finetop.core.runtime.child import write_line
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import explain_missing

if TYPE_CHECKING:
    from finetop.core.features.select.losses import Scorer


def main() -> int:
    from finetop.core.runtime.job_process import set_environment

    set_environment()
    # exit by exception, so that half-written files are removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(5)
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    try:
        with explain_missing():
            work(ask, Home(Path(sys.argv[1])))
    except FinetopError as error:
        write_line(Trouble(error.message, error.hint, error.exit_code))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def work(ask: Ask, home: Home) -> None:
    """Write every wanted file, in the order requested. Raises FinetopError."""
    source = msgspec.convert(ask.source, Source)
    pool = open_pool(source, lambda *doing: write_line(Doing(*doing)))
    pool.most = max(count_of(wanted, pool) for wanted in ask.wanted)
    if pool.most > len(pool):
        rows = f"{len(pool):,} rows, but {pool.most:,} were requested"
        raise BadInput(f"{pool.path.name} has {rows}.", hint="Request fewer.")
    if any(load(wanted.by).needs_model for wanted in ask.wanted):
        pool.scorer = scorer_of(ask.model, home)
    folder = home.root / "selected"
    known: dict[bytes, Choice] = {}
    for wanted in ask.wanted:
        key = msgspec.json.encode((wanted.by, wanted.seed, wanted.settings))
        if key not in known:
            selector = load(wanted.by)
            options = msgspec.convert(wanted.settings, selector.options)
            known = {key: selector.choose(pool, options, wanted.seed)}
        write_line(write_selection(pool, wanted, known[key], folder))


def count_of(wanted: Wanted, pool: Pool) -> int:
    return wanted.rows or max(1, round(wanted.share * len(pool)))


def write_selection(pool: Pool, wanted: Wanted, choice: Choice, folder: Path) -> Selected | TooFew:
    """Write the beginning of an order; return TooFew if there are not that many eligible rows."""
    count = count_of(wanted, pool)
    if count > len(choice.order):
        return TooFew(wanted.by, wanted.seed, count, len(choice.order), len(pool), choice.may)
    scorer = pool.scorer if load(wanted.by).needs_model else None
    path, manifest, sha256 = write(pool, wanted, choice, choice.order[:count], folder, scorer)
    return Selected(wanted.by, wanted.seed, count, len(pool), str(path), str(manifest), sha256)


def scorer_of(section: dict[str, Any], home: Home) -> Scorer:
    """Resolve the model that scores rows, downloading it if training would. Raises FinetopError."""
    from finetop.core.features.select.losses import open_scorer
    from finetop.core.models import resolve
    from finetop.core.recipe.schema import Model
    from finetop.core.runtime.event_log import EventLog

    model = msgspec.convert(section, Model)
    write_line(Doing("finding the model"))
    with tempfile.TemporaryDirectory(prefix="finetop-select-") as aside:  # its download events are not read
        try:
            base = resolve.resolve_model(model, home, EventLog(Path(aside) / "events.jsonl"))
        except (BadInput, EnvironmentTrouble) as error:
            message = error.message.replace("model.id: ", "--model: ")
            raise of_code(error.exit_code, message, error.hint) from error
    return open_scorer(base, model.dtype, home)


if __name__ == "__main__":
    sys.exit(main())
