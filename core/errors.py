"""Every error that finetop raises on purpose, as a tree.

FinetopError                 something went wrong that the user can act on
├── BadInput                 exit 2: a recipe, a data file, a name, an option (names place, value and fix)
│   ├── BadData              exit 2: in a row of the data
│   └── RecipeError          exit 2: in a recipe; carries file, line and key
├── NotFound                 exit 2: no such run, suite, method or recipe (suggests a similar name)
├── Refused                  exit 1: valid, but not possible now (stop of a finished run)
├── NoVerdict                exit 3: a check that cannot decide (gives the reason)
├── Fault                    exit 70: a bug in finetop itself (names the file with the traceback)
└── EnvironmentTrouble       exit 4: no supervisor, no disk, no GPU, no model within reach
    ├── InstallationTrouble  exit 4: driver, card and packages do not fit together
    ├── NoSupervisor         exit 4: it does not answer
    └── StoreTrouble         exit 4: the database can't be used (corrupt, newer than the program, locked)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

# Why a run failed or was lost, as a closed set: recovery depends on this alone, never on the texts.
Kind = Literal[
    "",  # unknown
    "out_of_memory",  # of the machine, or within its limit
    "gpu_out_of_memory",
    "gpu_taken",  # other processes use its memory
    "killed",  # by a signal that finetop did not send
    "crashed",  # in native code: segmentation fault, abort
    "hung",  # and `hung: {then: kill}` is set
    "bad_input",  # the recipe, a setting, a name
    "bad_data",  # a row of the data
    "nan",  # the loss was NaN, step after step
    "disk_full",
    "environment",  # no hub, no driver, a failing file system
    "installation",  # driver, card, packages or a container's limits don't fit: until somebody changes them
    "gpu_lost",  # off the bus, or damaged memory
    "gpu_error",  # a kernel failed: an assertion on the device, an illegal address
    "communication",  # between ranks: NCCL, gloo
    "restarted",  # the machine restarted
    "vanished",  # without an exit record
    "preempted",  # by a cluster, for a job of higher priority
    "time_limit",  # of a cluster
    "node_failed",  # of a cluster
    "cancelled",  # in a cluster's queue, by a user
    "code",  # a Python exception, of ours or of a library
]


class FinetopError(Exception):
    """Base of the tree: a one-line message, and a hint on how to fix it."""

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
    """A fault in a recipe: `place` is file:line (or --set), `key` the dotted name of the setting.

    `every` holds the messages of all faults if the recipe has several.
    """

    def __init__(self, message: str, *, place: str = "", key: str = "", hint: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.place = place
        self.key = key
        self.every: tuple[str, ...] = ()


class NotFound(FinetopError):
    exit_code = 2
    kind: Kind = "bad_input"


class Refused(FinetopError):
    exit_code = 1


class NoVerdict(FinetopError):
    exit_code = 3


class Fault(FinetopError):
    """A bug in finetop itself, which no user caused."""

    exit_code = 70


class EnvironmentTrouble(FinetopError):
    exit_code = 4
    kind: Kind = "environment"


class InstallationTrouble(EnvironmentTrouble):
    """What is installed does not fit together: it fails again until somebody changes that."""

    kind: Kind = "installation"


class NoSupervisor(EnvironmentTrouble):
    pass


class StoreTrouble(EnvironmentTrouble):
    pass


def of_code(exit_code: int, message: str, hint: str = "") -> FinetopError:
    """Return the error that another process reported with this exit code."""
    kinds: dict[int, type[FinetopError]] = {2: BadInput, 3: NoVerdict, 4: EnvironmentTrouble}
    return kinds.get(exit_code, FinetopError)(message, hint=hint)


def first_line(error: BaseException) -> str:
    """Return a library's error in one line of at most 300 characters; its type name if it has no text."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"{text} is missing"[:300] if isinstance(error, KeyError) else text[:300]


LISTED = 8  # names listed if a command shows all of them


def did_you_mean(value: str, known: Iterable[str], *, whole: str = "") -> str:
    """Suggest the name that was meant, 'Did you mean rank?', else list the known ones.

    `whole` is the command that lists all of them; if given, the hint lists only a few of many.
    """
    names = sorted(known)
    if name := near(value, names):
        return f"Did you mean {name}?"
    if not names:
        return ""
    more = len(names) - LISTED
    if not whole or more <= 0:
        return f"Options: {', '.join(names)}."
    return f"Options: {', '.join(names[:LISTED])} and {more} more, see `{whole}`."


def near(value: str, known: Iterable[str]) -> str:
    """Return the known name that was mistyped or abbreviated; '' if none is close.

    Close means about one slip per three letters, or a unique start or last word.
    """
    names = sorted(known)
    slips = [
        (distance, -_alike(value, name), name)
        for name in names
        if (distance := _slips(value, name)) is not None
    ]
    if slips:
        return min(slips)[2]
    part = folded_name(value)
    if len(part) < 3:
        return ""
    for is_part in (str.startswith, str.endswith):
        longer = [name for name in names if is_part(folded_name(name), part)]
        if len(longer) == 1:
            return longer[0]
    return ""


def folded_name(name: str) -> str:
    """Return a name without what people write either way: case, _ and -."""
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _alike(value: str, name: str) -> int:
    """Return the length of the common prefix."""
    pairs = zip(value, name, strict=False)
    return next(
        (at for at, (first, second) in enumerate(pairs) if first != second), min(len(value), len(name))
    )


def _slips(value: str, name: str) -> int | None:
    """Return the number of letters by which a word misses a name; None if it is too far off.

    Equal parts up to a dot, or after one, don't count: train.lr is no nearer to train.seed than lr to seed.
    """
    parts, others = value.split("."), name.split(".")
    while len(parts) > 1 and len(others) > 1 and parts[0] == others[0] and not parts[1][:1].isdigit():
        del parts[0], others[0]
    while len(parts) > 1 and len(others) > 1 and parts[-1] == others[-1]:
        del parts[-1], others[-1]
    word, other = folded_name(".".join(parts)), folded_name(".".join(others))
    longer = max(len(word), len(other))
    allowed = 1 if longer < 6 else 2 if longer < 10 else 3
    if word == other:
        return 0
    if min(len(word), len(other)) < 2 or abs(len(word) - len(other)) > allowed:
        return None
    slips = _distance(word, other, allowed)
    is_other_word = longer < 4 and word[0] != other[0] and sorted(word) != sorted(other)
    return slips if slips <= allowed and not is_other_word else None


def _distance(word: str, other: str, most: int) -> int:
    """Return the number of missing, extra, wrong or swapped letters; above `most` the value is only a lower bound."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for at, letter in enumerate(word, 1):
        last, before, row = before, row, [at]
        for place, expected in enumerate(other, 1):
            cost = min(before[place] + 1, row[-1] + 1, before[place - 1] + (letter != expected))
            if at > 1 < place and letter == other[place - 2] and word[at - 2] == expected:
                cost = min(cost, last[place - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]
