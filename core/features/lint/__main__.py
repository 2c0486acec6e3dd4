"""The process that lints: `python -m finetop.core.features.lint HOME < Asked`.

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
from finetop.core.features.lint import lint, report as lint_report
from finetop.core.features.lint.report import LintMessage, LintRequest, Progress, Trouble
from finetop.core.runtime.child import write_line
from finetop.core.runtime.files import os_error_words
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import explain_missing


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client handles ctrl+c; workers inherit this
    # exit by exception, so that half-written files are removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(5)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=LintRequest)
    home = Home(Path(sys.argv[1]))
    try:
        with explain_missing():
            report = lint.run(request, home, report_progress)
        if not (request.only or request.skip):
            lint_report.keep(report, home)
        last = LintMessage(report=report)
    except FinetopError as error:
        last = LintMessage(trouble=Trouble(error.message, error.hint, error.exit_code))
    except BrokenPipeError:
        return 1  # the reader has gone
    except OSError as error:
        if error.filename is None:
            raise
        last = LintMessage(trouble=Trouble(f"{os_error_words(error)}.", "", EnvironmentTrouble.exit_code))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the client does not wait for this process to end
    with contextlib.suppress(BrokenPipeError):
        write_line(last)
    return 0


def report_progress(phase: str, done: float, total: float) -> None:
    write_line(LintMessage(progress=Progress(phase, done, total)))


if __name__ == "__main__":
    sys.exit(main())
