"""A job in its own process: its arguments, its folders, and its event log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.plugins import METHODS
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.runtime import gpu_share, job_process
from finetop.core.runtime.failures import LESS
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, read_spec, run_folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import JobSpec
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.stop_signal import Stop


@dataclass(frozen=True)
class Job:
    """One job in its process: the content of job.json, its folder, its events, and whether it should stop."""

    spec: JobSpec
    folder: Path
    events: EventLog
    stop: Stop

    @property
    def run_folder(self) -> Path:
        return run_folder_of(self.folder)

    @property
    def home(self) -> Home:
        return Home(home_of(self.folder))

    @property
    def args(self) -> dict[str, Any]:
        """Everything in job.json that only this verb knows; see JobSpec."""
        return self.spec.args

    @property
    def dtype(self) -> str:
        """The number format requested by the recipe."""
        return str(self.spec.recipe.get("model", {}).get("dtype", ""))

    @property
    def gpu_gib(self) -> float | None:
        """The most memory that it may use on a GPU; None for all of it."""
        return gpu_share.limit().gib

    def started(self, device: str, dtype: str, packages: Sequence[str]) -> None:
        """Record who runs on what, with the versions of the packages that a result depends on."""
        job_process.write_started(self.events, self.folder, device=device, dtype=dtype, packages=packages)

    def recipe(self) -> Recipe:
        """Parse the resolved recipe. Raises RecipeError."""
        return recipe_from_resolved(self.spec.recipe, "job.json")

    def inside(self, path: object, name: str = "checkpoint") -> Path:
        """Return a path inside the run's own folder. Raises BadInput for one outside."""
        if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
            raise BadInput(f"job.json: args.{name} is {path!r}.", hint="Name a folder inside the run's own.")
        return self.run_folder / path

    def absolute(self, name: str) -> Path:
        """Return an argument that is an absolute path. Raises BadInput."""
        path = self.args.get(name)
        if not isinstance(path, str) or not Path(path).is_absolute():
            raise BadInput(f"job.json: args.{name} is {path!r}.", hint="Give an absolute path.")
        return Path(path)


def what_to_lower(job_folder: Path) -> str:
    """Return which settings of a job to lower after running out of memory; general advice if it does not train."""
    try:
        spec = read_spec(job_folder)
        recipe = recipe_from_resolved(spec.recipe, "job.json")
        return settings_to_lower(recipe) if spec.kind.trains_here else LESS
    except Exception:  # the failure to read it has been reported already
        return LESS


def settings_to_lower(recipe: Recipe, *, in_float16: bool = False) -> str:
    """Return which settings of a training recipe to lower after running out of memory."""
    train = recipe.train
    changes = []
    if train.batch_size > 1:
        by_as_much = f"raise train.grad_accumulation (now {train.grad_accumulation}) by as much"
        changes.append(f"lower train.batch_size (now {train.batch_size}) and {by_as_much}")
    changes.append(f"lower data.max_tokens (now {recipe.data.max_tokens})")
    if train.activation_checkpointing is not True:
        changes.append("set train.activation_checkpointing to true")
    if not METHODS.load(recipe.method.name).keeps_base and train.master in ("auto", "float32"):
        changes.append("set method.name to lora" if in_float16 else "set train.master to stochastic")
    text = "; ".join(changes)
    return text[0].upper() + text[1:] + "."
