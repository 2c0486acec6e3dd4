"""What a job would refuse, found before it is queued: the one look of `plan`, `run`, chains, sweeps and Launch.

Each part is asked of the job's own code, so that it is refused in the same words: the rows of the data, the rows of the
target, the suite's own files, what protections read. Nothing is downloaded, and neither torch nor transformers loaded
here: a model that is no Llama is built by another process (6 s), the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.check.scoring import target as scoring_target
from finetop.core.check.tasks import jsonl
from finetop.core.check.tasks.suite import find_suite
from finetop.core.data import files
from finetop.core.data.prompts import open_asker
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, Refused
from finetop.core.models import kernels, rehearsed
from finetop.core.models.resolved import Moving
from finetop.core.models.shape import Shape
from finetop.core.plan import inputs, lengths, machine as machines, rehearsal
from finetop.core.plan.estimate import estimate, find_fix
from finetop.core.plan.inputs import ConfigFile
from finetop.core.plan.lengths import Lengths
from finetop.core.plan.machine import Machine
from finetop.core.plan.result import READ_BY, Problem
from finetop.core.plan.shape import shape_of
from finetop.core.plan.workload import Known, refusals
from finetop.core.recipe import home_settings, protections as recipe_protections
from finetop.core.recipe.load import recipe_to_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.home import Home
from finetop.core.wording.units import gib_of

ROOM = "train.batch_size"  # the setting under which a machine that is too small is reported


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known of a run before it is queued; `problems` are what its job would end with, each by its setting."""

    lengths: Lengths | None
    problems: tuple[tuple[str, FinetopError], ...]

    def raise_first(self) -> None:
        """Raise the first problem, with the number of others in its hint."""
        if not self.problems:
            return
        first = self.problems[0][1]
        if len(self.problems) > 1:
            first.hint = f"{first.hint} (and {len(self.problems) - 1} more)".strip()
        raise first

    def as_data(self) -> tuple[Problem, ...]:
        """Return the problems as plain data."""
        return tuple(Problem(key, error.message, error.hint, error.exit_code) for key, error in self.problems)


@dataclass
class RunChecker:
    """Checks runs of one home, and data that several of them share only once."""

    home: Home
    seconds: float = lengths.SECONDS
    seen: dict[bytes, Ahead] = field(default_factory=dict)
    is_slurm: bool | None = None  # whether jobs go to a cluster; None: not known yet

    def check(self, recipe: Recipe, config_file: ConfigFile | None = None) -> Ahead:
        """Check what a run reads. `config_file` is the model's config, if it is on this machine."""
        key = what_is_read(recipe)
        if key not in self.seen:
            self.seen[key] = self._check(recipe, config_file)
        return self.seen[key]

    def goes_elsewhere(self) -> bool:
        """Return whether jobs of this home go to a cluster, whose nodes are other machines than this one."""
        if self.is_slurm is None:
            try:
                self.is_slurm = home_settings.load(self.home).slurm is not None
            except FinetopError:
                self.is_slurm = False  # the supervisor reports what is wrong
        return self.is_slurm

    def _check(self, recipe: Recipe, config_file: ConfigFile | None) -> Ahead:
        folder = None if config_file is None else config_file.folder
        problems: list[tuple[str, FinetopError]] = []
        measured = None
        with _collected(problems, "data.train"):
            measured = lengths.measure(recipe, folder, self.home, seconds=self.seconds)
        for key, read in self._parts(recipe, config_file):
            with _collected(problems, key):
                read()
        return Ahead(measured, tuple(problems))

    def _parts(
        self, recipe: Recipe, config_file: ConfigFile | None
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what else a job reads, each with its setting."""
        yield "protect", lambda: recipe_protections.read_files(recipe, self.home)
        checks = recipe.check.at_end or recipe.check.every is not None
        if recipe.check.general is not None:
            yield "check.general.suite", lambda: require_suite(recipe, self.home, with_rows=checks)
        if recipe.check.target is not None:
            yield "check.target", lambda: require_target(recipe, config_file, self.home)


@contextmanager
def _collected(problems: list[tuple[str, FinetopError]], key: str) -> Iterator[None]:
    """Collect an error raised in the block, under its setting; EnvironmentTrouble (not downloaded) is no problem."""
    try:
        yield
    except EnvironmentTrouble:
        pass
    except FinetopError as error:
        problems.append((key, error))


def require_suite(recipe: Recipe, home: Home, *, with_rows: bool) -> None:
    """Check that a suite and the rows of its own files can be read. Raises NotFound, BadInput."""
    assert recipe.check.general is not None
    suite = find_suite(recipe.check.general.suite, home)
    for task in suite.tasks if with_rows else ():
        if task.data is None:
            continue
        rows, _ = jsonl.config_of(task)
        if "output_type" not in task.lm_eval:
            shape = task.shape or jsonl.shape_of(rows[0])
            for row in rows:
                jsonl.shaped(row, shape)


def require_target(recipe: Recipe, config_file: ConfigFile | None, home: Home) -> None:
    """Check that the rows of the target can be read, asked and scored. Raises BadInput."""
    wanted = recipe.check.target
    assert wanted is not None
    if not files.is_there(Path(wanted.path)):
        return  # reported with the other files
    tokenizer, _ = lengths.plain_tokenizer(recipe, None if config_file is None else config_file.folder)
    # Its shots come from rows that were read already.
    asker = open_asker(recipe.ask, recipe.data.train, home, shots=False)
    positions = None if config_file is None else shape_of(recipe, config_file.config).max_positions
    longest = positions or 10**6
    scoring_target.read_rows(wanted, tokenizer, home, longest, asker, window=recipe.data.max_tokens)


def require_room(
    recipe: Recipe,
    config: Mapping[str, Any],
    here: Machine,
    measured: Lengths | None,
    shape: Shape | None = None,
) -> None:
    """Check that a run fits this machine once all its memory is free. Raises Refused with a change that would fit."""
    whole = replace(here, memory=here.total)
    shape = shape or shape_of(recipe, config)
    known = Known(lengths=measured, moving=Moving(shape=shape))
    plan = estimate(recipe, config, whole, known)
    if plan.host is not None and plan.host.lacks:
        host = plan.host
        message = f"{host.ranks} ranks need {gib_of(host.bytes)} GiB of host memory, but this machine has"
        raise Refused(
            f"{recipe.name} does not fit this machine's memory: {message} {gib_of(plan.host.total or 0.0)} in all.",
            hint="Use fewer GPUs (budget.gpus), lora instead of full tuning, or a smaller model.",
        )
    if plan.verdict != "no" or plan.capacity is None:
        return
    fix = find_fix(recipe, shape, whole, known, plan.capacity, plan.gpus)
    sets = "" if fix is None else " ".join(f"--set {setting}" for setting in fix.sets)
    hint = (
        "Use a smaller model: no known change makes it fit."
        if fix is None
        else f"It fits with {fix.text} ({gib_of(fix.need)} GiB with margin): {sets}"
    )
    raise Refused(
        f"{recipe.name} does not fit this machine: it needs {gib_of(plan.estimate)} GiB, and "
        f"{whole.name} have {gib_of(plan.capacity)} in all.",
        hint=hint,
    )


def kernel_problems(recipe: Recipe, config: Mapping[str, Any]) -> Iterator[tuple[str, FinetopError]]:
    """Yield the settings that need kernels which this machine's GPUs can't get, with the job's own errors."""
    for key, look in kernels.requirements(recipe, "cuda", config):
        try:
            look()
        except FinetopError as error:
            yield key, error


def what_is_read(recipe: Recipe) -> bytes:
    """Return a key of all that a check depends on, except memory: a sweep's runs that share it are checked once."""
    mapping = recipe_to_mapping(recipe)
    return msgspec.json.encode([mapping[name] for name in READ_BY])


def check_before_queue(recipe: Recipe, checker: RunChecker, *, rehearse: bool = True) -> Ahead:
    """Check a run about to be queued: what it reads, its method's sizes and names, and whether this machine is large
    enough.

    Without the model on this machine its checks are skipped; memory is also skipped if jobs go to a cluster.
    `rehearse` is false for a caller that rehearses the run itself.
    """
    home = checker.home
    try:
        config_file = inputs.find_config(recipe.model, home)
    except EnvironmentTrouble:
        config_file = None
    except FinetopError as error:
        return Ahead(None, (("model.id", error),))
    ahead = checker.check(recipe, config_file)
    if config_file is None:
        return ahead
    problems = list(ahead.problems)
    here = machines.read_machine(home.root, measure=False, use_gpu=recipe.budget.gpus != 0)
    shape = rehearsed.shape_of(recipe, config_file.file, home) or shape_of(recipe, config_file.config)
    is_unknown = not (shape.is_known or recipe.model.trust_remote_code)  # built once, and kept
    if rehearse and (is_unknown or rehearsal.is_needed(recipe)):
        with _collected(problems, "method"):
            shape = rehearsal.Rehearsal(recipe, config_file.file, here, home).answer().shape or shape
    if checker.goes_elsewhere():
        return replace(ahead, problems=tuple(problems))
    refused = refusals(recipe, shape, here, recipe.budget.gpus or 1)
    problems += [(key, BadInput(message, hint=hint)) for key, message, hint in refused]
    with _collected(problems, ROOM):
        require_room(recipe, config_file.config, here, ahead.lengths, shape)
        if here.device == "gpu":
            problems += kernel_problems(recipe, config_file.config)
    return replace(ahead, problems=tuple(problems))
