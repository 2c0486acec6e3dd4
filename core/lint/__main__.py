"""The process that lints: `python -m finetop.core.lint HOME < Asked`.

It tells progress, then the report, as JSON lines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.lint import lint, report as lint_report
from finetop.core.lint.report import Asked, Progress, Told, Trouble
from finetop.core.runtime.files import os_error_words
from finetop.core.runtime.home import Home


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client handles ctrl+c; workers inherit this
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # exit by exception, so that half-written files are removed
    os.nice(5)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    home = Home(Path(sys.argv[1]))
    try:
        report = lint.run(asked, home, say)
        if not (asked.only or asked.skip):
            lint_report.keep(report, home.root)
        last = Told(report=report)
    except FinetopError as error:
        last = Told(trouble=Trouble(error.message, error.hint, error.exit_code))
    except BrokenPipeError:
        return 1  # the reader has gone
    except OSError as error:
        if error.filename is None:
            raise
        last = Told(trouble=Trouble(f"{os_error_words(error)}.", "", EnvironmentTrouble.exit_code))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the client does not wait for this process to end
    with contextlib.suppress(BrokenPipeError):
        tell(last)
    return 0


def say(phase: str, done: float, total: float) -> None:
    tell(Told(progress=Progress(phase, done, total)))


def tell(told: Told) -> None:
    print(msgspec.json.encode(told).decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
