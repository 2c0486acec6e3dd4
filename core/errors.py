"""Every error that finetop raises on purpose, as a tree.

FinetopError                 something went wrong that a person can act on
├── BadInput                 exit 2: a recipe, a data file, a name, an option (says place, value and fix)
│   ├── BadData              exit 2: in a row of the data
│   └── RecipeError          exit 2: in a recipe; carries file, line and key
├── NotFound                 exit 2: no such run, suite, method or recipe (suggests a near name)
├── Refused                  exit 1: understood, but the answer is no (stop of a finished run)
├── NoVerdict                exit 3: a check that cannot decide (says why)
├── Fault                    exit 70: of finetop itself (names the file that has the traceback)
└── EnvironmentTrouble       exit 4: no supervisor, no disk, no GPU, no model within reach
    ├── NoSupervisor         exit 4: it does not answer
    └── StoreTrouble         exit 4: the database refuses (corrupt, newer than the program, locked)
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

# Why a run failed or was lost, as a closed set: what can be done about it depends on this alone, never on the words.
Kind = Literal[
    "",  # not told
    "out_of_memory",  # of the machine, or of what it may use of it
    "gpu_out_of_memory",
    "gpu_taken",  # its memory, by others
    "killed",  # by a signal that nobody asked finetop for
    "crashed",  # in native code: segmentation fault, abort
    "hung",  # and `hung: {then: kill}` is set
    "bad_input",  # the recipe, a setting, a name
    "bad_data",  # a row of the data
    "nan",  # the loss was no number, step after step
    "disk_full",
    "environment",  # no hub, no driver, a file system that refuses
    "gpu_lost",  # it fell off the bus, or its memory is damaged
    "gpu_error",  # a kernel failed: an assertion on the device, an illegal address
    "communication",  # between ranks: NCCL, gloo
    "restarted",  # the machine
    "vanished",  # without an exit record
    "preempted",  # by a cluster, for a job that goes first
    "time_limit",  # of a cluster
    "node_failed",  # of a cluster
    "cancelled",  # in a cluster's queue, by somebody
    "code",  # an exception of Python, of ours or of a library's
]


class FinetopError(Exception):
    """Base of the tree: a message in one line, and a hint that says what to do about it."""

    exit_code = 1
    kind: Kind = "code"  # of a job that ends with it

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadInput(FinetopError):
    exit_code = 2
    kind: Kind = "bad_input"


class BadData(BadInput):
    kind: Kind = "bad_data"


class RecipeError(BadInput):
    """A fault in a recipe: `place` is file:line (or --set), `key` the dotted name of the setting."""

    def __init__(self, message: str, *, place: str = "", key: str = "", hint: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.place = place
        self.key = key


class NotFound(FinetopError):
    exit_code = 2
    kind: Kind = "bad_input"


class Refused(FinetopError):
    exit_code = 1


class NoVerdict(FinetopError):
    exit_code = 3


class Fault(FinetopError):
    """Something in finetop is wrong, and nobody who uses it can be blamed."""

    exit_code = 70


class EnvironmentTrouble(FinetopError):
    exit_code = 4
    kind: Kind = "environment"


class NoSupervisor(EnvironmentTrouble):
    pass


class StoreTrouble(EnvironmentTrouble):
    pass


def first_line(error: BaseException) -> str:
    """Say in one line of at most 300 characters what a library's error says; its name, where it says nothing."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"{said} is missing"[:300] if isinstance(error, KeyError) else said[:300]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, or list what there is: 'Did you mean rank?'."""
    names = sorted(known)
    near = get_close_matches(value, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"There is {', '.join(names)}." if names else ""
