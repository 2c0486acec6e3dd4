"""Runs side by side: differences in their recipes, their results, and which are on the Pareto front."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, get_args

from finetop.core.errors import FinetopError
from finetop.core.features.data_versions.wording import TESTS_DIFFER, source_words, tests_differ
from finetop.core.features.sweeps.seed_groups import retained
from finetop.core.protocol.check_result import LOWER_IS_BETTER, Metric
from finetop.core.protocol.runs import RunDetail, Running, State, ran_s
from finetop.core.recipe.command import arguments_of
from finetop.core.recipe.dotted import flat_settings
from finetop.core.text import clean_line, counted, listed, number_words
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import short_answer

NOT_COMPARED = ("name", "about", "recipe", "extends")  # a recipe's origin, not what it does
MOST_RUNS = 9  # runs at a time: each has a letter and a column
NOT_SET = "-"
FIRST_LISTED = "train.learning_rate"  # listed first among the differences
TARGET = "target_"  # begins the metrics of the target that training measured
USUAL = {"method": "lora", "objective": "sft"}
SAME_LOSS = ("packing",)  # settings of an objective that leave its loss as it is
SEARCH_PATHS = ("PATH", "LD_LIBRARY_PATH")  # of a command's shell: long, and seldom what was varied
SUITES_DIFFER = "They were checked on different suites: what they retained can't be compared."


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting on which recipes differ, with the value in each; `-` where a recipe does not have it."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result of each run, as text; `best` are the runs (from 0) with the best value."""

    label: str
    cells: tuple[str, ...]
    best: tuple[int, ...] = ()
    why_no_best: str = ""  # why the values can't be ranked


@dataclass(frozen=True, slots=True)
class Trade:
    """What a run learned and what it kept. `target` is its metric's value, `kept` the change in points."""

    run: int  # from 0
    metric: str
    target: float
    kept: float


def settings_of(runs: Sequence[RunDetail]) -> list[Mapping[str, Any]]:
    """Return the recipes of runs; if each has a configuration of its own program, with that as `config`."""
    own = [{} if run.numbers_from is None else run.numbers_from.settings for run in runs]
    if not all(own):
        return [run.recipe for run in runs]
    return [{**run.recipe, "config": config} for run, config in zip(runs, own, strict=True)]


def differences(recipes: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """List the settings that differ. One that only one of the methods has is left out if it has its default value."""
    recipes = [_with_arguments(recipe) for recipe in recipes]
    flat = [dict(flat_settings(recipe, of_item=lambda key, at: f"{key}.{at + 1}")) for recipe in recipes]
    flat = [{key: value for key, value in settings.items() if value != {}} for settings in flat]
    unset = [_defaults(recipe) for recipe in recipes]
    differing = []
    for key in dict.fromkeys([FIRST_LISTED, *chain.from_iterable(flat)]):
        values = [settings.get(key, NOT_SET) for settings in flat]
        if key.partition(".")[0] in NOT_COMPARED or all(value == values[0] for value in values):
            continue
        is_missing = any(key not in settings for settings in flat)
        given = [(at, settings[key]) for at, settings in enumerate(flat) if key in settings]
        if is_missing and all(unset[at].get(key, NOT_SET) == value for at, value in given):
            continue
        differing.append(Difference(key, tuple(map(_value_text, values))))
    return differing


def _with_arguments(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe with the command of another program by arguments, so that only those that differ are listed."""
    command = recipe.get("command")
    if command is None:
        return recipe
    parts = {"run": command.get("run") or [], "resume_command": command.get("resume_command") or []}
    try:
        parts["shell"] = shlex.split(command.get("shell") or "")
    except ValueError:  # a quote without its end: the whole line
        parts["shell"] = [command["shell"]]
    env = {key: value for key, value in (command.get("env") or {}).items() if key not in SEARCH_PATHS}
    by_argument = {key: arguments_of(words) for key, words in parts.items()}
    return {**recipe, "command": {**command, **by_argument, "env": env}}


def _defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default settings of a recipe's method and objective; empty if either is unknown."""
    from finetop.core.recipe.fields import fields  # the whole schema: 60 ms that the app's start must not pay

    names = [(recipe.get(part) or {}).get("name", usual) for part, usual in USUAL.items()]
    try:
        return {field.key: field.default for field in fields(*names)}
    except FinetopError:
        return {}


def data_differences(runs: Sequence[RunDetail]) -> list[Difference]:
    """List the sources that runs have read in different versions, with each run's version."""
    versions: dict[tuple[str, str], list[str]] = {}
    for at, run in enumerate(runs):
        for row in run.sources:
            of_runs = versions.setdefault((source_words(row), row.use), [NOT_SET] * len(runs))
            of_runs[at] = f"v{row.number}, {counted(row.rows, 'row')}"
    return [Difference(key[0], tuple(cells)) for key, cells in versions.items() if len(set(cells)) > 1]


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_words(value)
    if isinstance(value, list):
        return clean_line(", ".join(map(str, value)) or "none")
    return clean_line(str(value))


def outcomes(runs: Sequence[RunDetail], now: float) -> list[Outcome]:
    """Return the results of the runs; rows that none of them has are left out."""
    rows = [_learned("loss", "loss", runs, min), _learned("eval loss", "eval_loss", runs, min)]
    rows.append(_learned("reward", "reward", runs, max))
    is_one_test, is_one_suite = not other_tests(runs), not suites_differ(runs)
    for metric in dict.fromkeys(name for run in runs for name in _targets(run)):
        values = [target_of(run, metric) for run in runs]
        row = _numbers(f"target, {metric_words(metric)}", values, min if metric in LOWER_IS_BETTER else max)
        rows.append(row if is_one_test else replace(row, best=(), why_no_best=TESTS_DIFFER))
    kept = [retained(run.row) for run in runs]
    checks = [run.row.check for run in runs]
    named = suites_differ(runs) or None
    answers = ["-" if check is None else short_answer(check, name_suite=named) for check in checks]
    rows += [
        Outcome("retained", tuple(answers), _best(kept, max) if is_one_suite else ()),
        _numbers("drift", [run.row.metrics.get("drift") for run in runs], min),
        Outcome("step", tuple(_steps(run) for run in runs)),
        Outcome("time", tuple(_time(run, now) for run in runs)),
        Outcome("GPU hours", tuple(_gpu_hours(run, now) for run in runs)),
    ]
    return [row for row in rows if any(cell != "-" for cell in row.cells)]


def _learned(label: str, key: str, runs: Sequence[RunDetail], better: Callable[..., float]) -> Outcome:
    """Return the last value of a training metric; no run is best if the values can't be compared."""
    row = _numbers(label, [run.row.metrics.get(key) for run in runs], better)
    differ = _differ_in(key, [run for run in runs if run.row.metrics.get(key) is not None])
    return replace(row, best=(), why_no_best=f"No best {label}: {differ}.") if differ else row


def _differ_in(key: str, runs: Sequence[RunDetail]) -> str:
    """Return why a training metric can't be compared (other objectives, rewards or rows), or an empty string."""
    if len(runs) < 2:
        return ""
    objectives = [_objective(run.recipe) for run in runs]
    names = list(dict.fromkeys(clean_line(str(objective["name"])) for objective in objectives))
    if key == "reward":
        if _varies([run.recipe.get("reward") for run in runs]):
            return "their rewards differ"
    elif len(names) > 1:
        return f"their objectives differ ({', '.join(names)})"
    elif _varies(objectives):
        return f"their settings of {names[0]} differ"
    if _varies([_rows_read(run, of_eval=key == "eval_loss") for run in runs]):
        return f"their {'evaluation' if key == 'eval_loss' else 'training'} rows differ"
    return ""


def _objective(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's objective without the settings that leave its loss unchanged."""
    settings = {"name": USUAL["objective"], **(recipe.get("objective") or {})}
    return {key: value for key, value in settings.items() if key not in SAME_LOSS}


def _rows_read(run: RunDetail, *, of_eval: bool) -> Any:
    """Return what identifies the rows that a run learned from or was evaluated on: hashes, else the recipe's data."""
    # Rows set aside for evaluation are drawn by the seed, so the rows left for training depend on it too.
    data, seed = run.recipe.get("data") or {}, (run.recipe.get("train") or {}).get("seed")
    eval_rows = data.get("eval", {"share": None})
    drawn = (eval_rows, seed) if isinstance(eval_rows, Mapping) else None
    uses = ("eval",) if of_eval and drawn is None else ("train", "replay")
    read = [(row.content, row.use, row.share, row.learned) for row in run.sources if row.use in uses]
    return drawn, read or (data.get("eval") if uses == ("eval",) else data.get("train"))


def _varies(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)


def why_no_best(outcomes_of_runs: Sequence[Outcome]) -> list[str]:
    """Return the reasons, each once, why rows of outcomes have no best run."""
    return list(dict.fromkeys(row.why_no_best for row in outcomes_of_runs if row.why_no_best))


def suites_differ(runs: Sequence[RunDetail]) -> bool:
    """Return True if the runs were checked on different suites, so that each verdict must name its own."""
    return len({run.row.check.suite for run in runs if run.row.check is not None}) > 1


def other_tests(runs: Sequence[RunDetail]) -> bool:
    """Return True if the runs were measured on different tests, so that none is best by its target."""
    return tests_differ([run.sources for run in runs])


def _numbers(label: str, values: Sequence[float | None], better: Callable[..., float]) -> Outcome:
    cells = tuple("-" if value is None else number_words(value, 4) for value in values)
    return Outcome(label, cells, _best(values, better))


def _best(values: Sequence[float | None], better: Callable[..., float]) -> tuple[int, ...]:
    """Return the runs with the best number; empty if fewer than two have one, or all are equal."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return ()
    return tuple(at for at, value in enumerate(values) if value is not None and value == better(known))


def target_of(run: RunDetail, metric: str) -> float | None:
    """Return what a run's check measured on its target, else its training (`check.at_end: false`), or None."""
    scores = {} if run.row.check is None else run.row.check.target
    if metric in scores and len(scores[metric]) > 1:
        return scores[metric][1]
    return run.row.metrics.get(f"{TARGET}{metric}")


def _targets(run: RunDetail) -> list[str]:
    """Return the metrics of the target that a run was measured by, those of its check first."""
    probed = [metric for metric in get_args(Metric) if f"{TARGET}{metric}" in run.row.metrics]
    return [*(run.row.check.target if run.row.check else ()), *probed]


def _steps(run: RunDetail) -> str:
    row = run.row
    return "-" if not row.step else f"{row.step:,}" + (f" of {row.steps:,}" if row.steps else "")


def _time(run: RunDetail, now: float) -> str:
    """Return how long a run's training jobs have run."""
    spans = [_ran(job.state, now) for job in run.jobs if job.kind.makes_a_run]
    known = [span for span in spans if span is not None]
    return long_span(sum(known)) if known else "-"


def _ran(state: State, now: float) -> float | None:
    return now - state.since if isinstance(state, Running) else ran_s(state)


def _gpu_hours(run: RunDetail, now: float) -> str:
    jobs = [job for job in run.jobs if job.kind.makes_a_run]
    hours = sum((_ran(job.state, now) or 0.0) * len(job.gpus) / 3600 for job in jobs)
    return f"{hours:.1f}" if hours else "-"


def why_no_trades(runs: Sequence[RunDetail]) -> str:
    """Return why the runs' targets or retained scores can't be compared, or an empty string."""
    return TESTS_DIFFER if other_tests(runs) else SUITES_DIFFER if suites_differ(runs) else ""


def trades(runs: Sequence[RunDetail], metric: str = "") -> list[Trade]:
    """Return target (`metric`, or the first of a run) and retained score of runs that have both and are comparable."""
    if why_no_trades(runs):
        return []
    if not metric:
        metric = next((name for run in runs for name in _targets(run)), "")
    points = []
    for number, run in enumerate(runs):
        target, kept = target_of(run, metric), retained(run.row)
        if target is not None and kept is not None:
            points.append(Trade(number, metric, target, kept))
    return points


def front(points: Sequence[Trade]) -> tuple[int, ...]:
    """Return the runs on the Pareto front: no other is at least as good in both and better in one."""

    def ends(point: Trade) -> tuple[float, float]:
        return (-point.target if point.metric in LOWER_IS_BETTER else point.target), point.kept

    def betters(other: Trade, point: Trade) -> bool:
        theirs, own = ends(other), ends(point)
        return theirs != own and theirs[0] >= own[0] and theirs[1] >= own[1]

    return tuple(point.run for point in points if not any(betters(other, point) for other in points))


def front_sentence(runs: Sequence[RunDetail], names: Sequence[str]) -> str:
    """Return the sentence on which runs are on the Pareto front, or why there is none."""
    points = trades(runs)
    if why := why_no_trades(runs):
        return why
    if len(points) < 2:
        has_target = any(map(_targets, runs))
        wanted = "a target score and a check of what it retained" if has_target else "a target score"
        return f"Can't rank: {'only one' if points else 'no'} run has {wanted}."
    on_it = [names[number] for number in front(points)]
    left_out = len(runs) - len(points)
    verb, rest_verb = ("is" if number == 1 else "are" for number in (len(on_it), left_out))
    rest = f"; {left_out} without a check of both {rest_verb} left out" if left_out else ""
    return f"{listed(on_it)} {verb} on the Pareto front: none is better at both{rest}."
