"""HOME/settings.yaml: what a person has set for the whole home. Strict: a setting that isn't one is an error.

settings: 1
keep: {last: 3, best: 1, days: null, total_gib: null, merged_days: 30, scores_days: null, trash_days: 30}
hung: {after_s: 600, then: tell}
gpus: {share: true, reserve_gib: 1, only: null}
slots: {cpu_jobs: 1}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

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


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    settings: Literal[1] = 1
    keep: Keep = Keep()
    hung: Hung = Hung()
    gpus: Gpus = Gpus()
    slots: Slots = Slots()


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
