"""HOME/settings.yaml: what a person has set for the whole home. Strict: a setting that isn't one is an error.

settings: 1
keep: {last: 3, best: 1, days: null, total_gib: null, merged_days: 30, scores_days: null, trash_days: 30}
hung: {after_s: 600, then: tell}
gpus: {share: true, reserve_gib: 1, only: null}
slots: {cpu_jobs: 1}
retry: {times: 2, wait_s: 60, longest_s: 3600, not_after: []}
resume: {after_reboot: true, after_crash: true}
quiet_hours: {from: "22:00", to: "07:00", days: [mon, tue, wed, thu, fri], pause: false}
logs: {mib: 256}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from finetop.core.errors import EnvironmentTrouble, RecipeError

if TYPE_CHECKING:
    from finetop.core.home import Home

FILE = "settings.yaml"
Days = Annotated[float, Meta(ge=0, le=36_500)]


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `finetop clean` keeps; null keeps all. A run's newest and best checkpoints always stay."""

    last: Annotated[int, Meta(ge=1, le=10_000)] | None = 3  # newest checkpoints of each run
    best: Annotated[int, Meta(ge=1, le=10_000)] = 1  # those with the lowest eval_loss, beside
    days: Days | None = None  # checkpoints of runs that ended longer ago go
    total_gib: Annotated[float, Meta(ge=0, le=1e6)] | None = None  # of all checkpoints: the oldest go
    merged_days: Days | None = 30.0  # models merged for a run to begin from, not used for so long
    scores_days: Days | None = None  # item scores of models, not used for so long
    datasets_days: Days | None = None  # data sets of the hub, not used for so long
    trash_days: Days | None = 30.0


class Hung(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a job that says nothing hangs, and what is done then."""

    after_s: Annotated[float, Meta(ge=1, le=1e7)] = (
        600.0  # at least; 20 of its usual steps, if they take longer
    )
    then: Literal["tell", "kill"] = "tell"  # killed, it has failed, and may be retried


class Gpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How jobs are put on the GPUs of the supervisor's machine."""

    share: bool = True  # several jobs on one, where what they need fits; false: each has its own, whole
    reserve_gib: Annotated[float, Meta(ge=0, le=1024)] = (
        1.0  # left free on a GPU that a job shares with others
    )
    only: tuple[Annotated[int, Meta(ge=0, le=1023)] | Annotated[str, Meta(min_length=4)], ...] | None = (
        None  # these alone: numbers as nvidia-smi shows them, or (the beginning of) UUIDs
    )


class Slots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many jobs run at a time where GPUs do not limit them."""

    cpu_jobs: Annotated[int, Meta(ge=1, le=1024)] = 1


Passing = Literal[  # kinds of failure that may pass by themselves (see Kind in core/run.py)
    "out_of_memory",
    "gpu_taken",
    "disk_full",
    "environment",
    "gpu_lost",
    "gpu_error",
    "communication",
    "hung",
]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often a job that failed is tried again by itself: never for its recipe, its data or its numbers."""

    times: Annotated[int, Meta(ge=0, le=100)] = 2  # without a new checkpoint in between
    wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0  # before the first of them; then twice as long …
    longest_s: Annotated[float, Meta(ge=0, le=604_800)] = 3600.0  # … up to this
    not_after: tuple[Passing, ...] = ()  # kinds of failure that are left to a person


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether runs go on by themselves, from their newest checkpoint, when something from outside ended them."""

    after_reboot: bool = True
    after_crash: bool = True  # of its process: killed from outside, a fault in native code, vanished


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ClockTime = Annotated[
    str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", extra={"words": 'a time of day such as "22:00"'})
]


class QuietHours(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """When nothing new starts, by this machine's clock; one that ends before it begins goes on over midnight."""

    start: ClockTime
    end: ClockTime
    days: tuple[Day, ...] = get_args(Day)  # on which it begins
    pause: bool = False  # what trains or is checked is paused too, and goes on afterwards


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of the disk a job's log may take; of a longer one the first quarter and the last half stay."""

    mib: Annotated[int, Meta(ge=1, le=1 << 20)] | None = 256  # null: any number


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    settings: Literal[1] = 1
    keep: Keep = Keep()
    hung: Hung = Hung()
    gpus: Gpus = Gpus()
    slots: Slots = Slots()
    retry: Retry = Retry()
    resume: Resume = Resume()
    quiet_hours: QuietHours | None = None
    logs: Logs = Logs()


def load(home: Home) -> Settings:
    """Read a home's settings; without the file, the defaults. Raises BadInput naming file, line and value."""
    from finetop.core.recipe.strict_yaml import Origin, parse
    from finetop.core.recipe.validate import read_as

    file = home.root / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as error:
        raise RecipeError("is not UTF-8 text.", place=str(file)) from error
    except OSError as error:
        raise EnvironmentTrouble(f"{file} can't be read: {error.strerror}.") from error
    root = parse(text, Origin(str(file), home.root))
    if not isinstance(root.value, dict) or "settings" not in root.value:
        raise RecipeError("the version is missing.", place=root.place, hint="Begin with `settings: 1`.")
    return read_as(root, Settings)
