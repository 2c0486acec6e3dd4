"""Problems between settings that are each valid on their own."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput, RecipeError, did_you_mean
from finetop.core.plugins import (
    APPROACHES,
    FORMATS,
    METHODS,
    METRIC_SOURCES,
    OBJECTIVES,
    has_base,
    is_checkable,
)
from finetop.core.protocol.runs import COMMAND, UNKNOWN
from finetop.core.recipe import columns, parallel, protections as recipe_protections, raw_options
from finetop.core.recipe.answer_rules import find_rule
from finetop.core.recipe.command import placeholders
from finetop.core.recipe.dotted import place_of
from finetop.core.recipe.log_pattern import EXAMPLE, fault_of
from finetop.core.recipe.names import check_name
from finetop.core.recipe.protections import Problem
from finetop.core.recipe.references import is_reference
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from finetop.core.recipe.schema import Recipe, Source


OF_GPUS = {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
# At most 96 characters, no .. or -- in it, no - or . at an end of a part.
_HUB_ID = re.compile(r"(?!.*(--|\.\.))(?=.{1,96}$)\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)


def cross_problems(
    recipe: Recipe, places: Mapping[str, str], whole: str, *, to_train: bool
) -> list[RecipeError]:
    """Return problems that the types can't express; `whole` is the place of settings that nobody wrote.

    `to_train` is False for a recipe that only says what to check and how.
    """
    problems = []
    try:
        check_name(recipe.name, places.get("name", whole))
    except RecipeError as error:
        problems.append(error)
    trained = (_method, _objective, _engine, _raw, recipe_protections.problems, parallel.problems)
    always = (_command, _model, _train, _stop_early, _data, _check, _target, _ask, _approaches, _budget)
    for rule in (*(trained if to_train else ()), *always):
        for key, message, hint in rule(recipe):
            problems.append(RecipeError(message, place=place_of(key, places, whole), key=key, hint=hint))
    return problems


def _method(recipe: Recipe) -> Iterator[Problem]:
    """Yield what the method doesn't support, as declared by its module."""
    name, quantize, key = recipe.method.name, recipe.model.quantize, "model.quantize"
    method = METHODS.load(name)
    if quantize not in method.quantized:
        weights = "whole" if quantize == "none" else quantize
        other = ", or method.name to lora, which works on all" if has_base(recipe.objective.name) else ""
        hint = f"Set {key} to {' or '.join(method.quantized)}{other}."
        yield key, f"{key}: {name} does not work with {weights} weights: {method.not_quantized}.", hint
    for key, why in method.refuses.items():
        if _value(recipe, key) not in (None, False, "auto"):
            yield key, f"{key} does not work with {name}: {why}.", f"Set {key} to false."


def _value(recipe: Recipe, key: str) -> object:
    """Return a setting by its dotted key; None if the recipe's objective has no such setting."""
    section, _, name = key.partition(".")
    section_value = getattr(recipe, section)
    return getattr(getattr(section_value, "options", section_value), name, None)


def _objective(recipe: Recipe) -> Iterator[Problem]:
    """Yield what the objective doesn't support, and checks of a model that can't be checked."""
    objective = OBJECTIVES.load(recipe.objective.name)
    yield from objective.limits(recipe)
    if not is_checkable(recipe.objective.name) and recipe.check.general is not None:
        message = f"check.general: {recipe.objective.name} produces no model to compare with its base."
        yield "check.general", message, "Set check.general to null."


def _engine(recipe: Recipe) -> Iterator[Problem]:
    """Yield what vLLM can't generate for: it reads merged, unquantized weights, on one GPU."""
    if recipe.model.engine != "vllm":
        return
    key, hint = "model.engine", "Set it to auto."
    method, gpus = METHODS.load(recipe.method.name), recipe.budget.gpus
    if recipe.model.quantize != "none":
        yield key, f"{key}: vllm can't generate from {recipe.model.quantize} weights.", hint
    elif not method.merges(recipe.method.options):
        message = f"{key}: vllm reads merged weights, and those of {recipe.method.name} can't be merged."
        yield key, message, hint
    elif gpus is not None and gpus > 1:
        yield key, f"{key}: vllm generates on one GPU, but budget.gpus is {gpus}.", hint


def _raw(recipe: Recipe) -> Iterator[Problem]:
    """Yield raw options that only the job would refuse."""
    return raw_options.problems(recipe.trainer_args, OBJECTIVES.load(recipe.objective.name).own)


def _command(recipe: Recipe) -> Iterator[Problem]:
    """Require a command that can be started, and that nothing else of the recipe trains."""
    command = recipe.command
    if command is None:
        return
    if not command.run and command.shell is None and recipe.objective.name == COMMAND:
        yield "command.run", "command.run is empty.", "Write command: [python, train.py]."
    if command.run and command.shell is not None:
        yield "command.shell", "command.run and command.shell are both set.", "Remove one of them."
    if recipe.objective.name in OBJECTIVES.names():
        message = f"this recipe's command trains, but its objective is {recipe.objective.name}."
        yield "command", message, "Leave objective and extends out, or command."
    for name in sorted(command.values.keys() - placeholders(command)):
        key, hint = f"command.values.{name}", "Write the name in braces where it belongs."
        yield key, f"{key}: the command has no {{{plain(name)[:60]}}}.", hint
    for name in command.env.keys() & OF_GPUS:
        message = f"command.env.{name}: finetop gives the command its GPUs."
        yield f"command.env.{name}", message, "Leave it out, and set budget.gpus."
    for name in command.env:
        if not name or "=" in name:
            message = f"command.env: {quoted(name)} can't be the name of a variable."
            yield "command.env", message, "Write env: {NAME: value}."
    for text in command.metrics:
        name, has_path, path = text.partition(":")
        if name not in (known := ("auto", "none", *METRIC_SOURCES.names())):
            hint = did_you_mean(name[:60], known)
            yield "command.metrics", f"command.metrics: there is no source {quoted(name)}.", hint
        elif has_path and (not path or name in ("auto", "none")):
            message = f"command.metrics: {quoted(text)} names no file or folder of a source."
            yield "command.metrics", message, f"Write {name}, or csv:logs/metrics.csv."
    if command.pattern is not None and (fault := fault_of(command.pattern)):
        yield "command.pattern", f"command.pattern {fault}.", f"Such as: {EXAMPLE}"
    train = recipe.train
    for key, is_set in (("stop_early", train.stop_early is not None), ("keep", train.keep == "best")):
        if is_set:
            yield f"train.{key}", f"train.{key}: a command ends and saves by itself.", "Leave it out."
    if is_reference(recipe.model.id):
        message = f"model.id is {quoted(recipe.model.id)}, and a command starts from a hub id or a folder."
        yield "model.id", message, "Export that run first, with finetop export, and name its folder."
    if recipe.check.every is not None:
        yield "check.every", "check.every: a command is checked at its end alone.", "Set check.every to null."


def _model(recipe: Recipe) -> Iterator[Problem]:
    """Refuse a model that is no folder, no run, and no valid hub id."""
    name = recipe.model.id
    if Path(name).is_absolute() or is_reference(name) or _HUB_ID.fullmatch(name) or name == UNKNOWN:
        return
    hint = "Give a hub id such as org/name, or a model's folder: ./folder or /folder."
    message = f"model.id: no folder {quoted(name)}, and it is not a valid hub id."
    yield "model.id", message, hint


def _train(recipe: Recipe) -> Iterator[Problem]:
    if recipe.train.epochs is None and recipe.train.max_steps is None:
        yield "train.epochs", "the length of training is not set.", "Set train.epochs or train.max_steps."


def watched_metric(recipe: Recipe) -> str | None:
    """Return the metric for train.stop_early and train.keep: eval_loss, target or reward; None if neither is set."""
    train = recipe.train
    if train.stop_early is not None:
        return train.stop_early.metric
    if train.keep == "newest":
        return None
    return "reward" if _has_reward(recipe) else "eval_loss"


def _has_reward(recipe: Recipe) -> bool:
    return "reward" in OBJECTIVES.load(recipe.objective.name).metrics.values()


def _stop_early(recipe: Recipe) -> Iterator[Problem]:
    """Yield problems with the watched metric: never measured, or two settings that choose the best."""
    if recipe.command is not None:
        return
    train, check, metric = recipe.train, recipe.check, watched_metric(recipe)
    if metric is None:
        return
    key = "train.keep" if train.stop_early is None else "train.stop_early.metric"
    message = f"{key} uses {metric}" if train.stop_early is None else f"{key} is {metric}"
    if metric == "target" and check.target is None:
        yield key, f"{message}, but check.target is not set.", f"Set check.target, or {key} to eval_loss."
    elif metric == "target" and check.every is None:
        hint = f"Set check.every to 0.1, or {key} to eval_loss."
        if check.general is None:
            hint = f"Set {key} to eval_loss, and put those rows into data.eval."
        yield key, f"{message}, which is measured at checks during training: check.every is not set.", hint
    rows = recipe.data.eval
    if metric != "target" and not (rows if isinstance(rows, tuple) else rows.share):
        hint = "Set data.eval.share to 0.1."
        yield key, f"{message}, but nothing is evaluated: data.eval has no rows.", hint
    name = recipe.objective.name
    if metric == "reward" and not _has_reward(recipe):
        yield key, f"{message}, but {name} has no reward.", "Set it to eval_loss."
    if metric == "eval_loss" and not OBJECTIVES.load(name).loss_falls:
        yield key, f"{message}, but the loss of {name} is meaningless: it stays near 0.", "Set it to reward."
    if train.keep == "best" and check.on_fail == "keep-best":
        message = "train.keep is best and check.on_fail is keep-best: both choose the checkpoint to keep."
        hint = "Set train.keep to newest: of those that are OK the one with the lowest eval_loss is kept."
        yield "train.keep", message, hint


def _data(recipe: Recipe) -> Iterator[Problem]:
    for i, source in enumerate(recipe.data.train):
        yield from _source(source, f"data.train[{i}]")
    if isinstance(recipe.data.eval, tuple):
        for i, source in enumerate(recipe.data.eval):
            yield from _source(source, f"data.eval[{i}]")
            if source.share is not None:
                key = f"data.eval[{i}].share"
                hint = f"Set {key} to null; data.eval[{i}].rows takes fewer."
                yield key, f"{key}: only training rows are mixed by share.", hint
    shares = [source.share for source in recipe.data.train if source.share is not None]
    if shares and len(shares) == len(recipe.data.train):
        message = "every source of data.train has a share, so no source sets the number of rows."
        yield "data.train", message, "Set data.train[0].share to null, or that of another source."
    elif sum(shares) >= 1:
        yield "data.train", f"the shares of data.train add up to {sum(shares):g}.", "Keep their sum below 1."


def _source(source: Source, key: str) -> Iterator[Problem]:
    if source.format != "auto" and source.format not in FORMATS.names():
        hint = did_you_mean(source.format, FORMATS.names())
        yield f"{key}.format", f"{key}.format: there is no format {source.format[:60]!r}.", hint
    if source.path is None and source.id is None:
        yield key, f"{key} has neither path nor id.", "Set path for files of rows, or id for a data set."
    elif source.path is not None and source.id is not None:
        yield key, f"{key} has both path and id.", "Set one of them to null."
    elif source.path is not None:
        for name in (f"{key}.{name}" for name in ("split", "subset") if getattr(source, name) is not None):
            yield name, f"{name} works only with id.", f"A file has no splits: set {name} to null."
    yield from columns.problems(source.columns, source.labels, key)


def _check(recipe: Recipe) -> Iterator[Problem]:
    check = recipe.check
    if check.every is not None and check.general is None:
        hint = "Set check.general, such as {suite: quick}, or check.every to null."
        yield "check.every", "check.every is set, but check.general is null: nothing to check.", hint
    if check.on_fail != "flag" and check.every is None:
        message = f"check.on_fail is {check.on_fail}, but nothing is checked during training."
        yield "check.on_fail", message, "Set check.every, such as 0.25."


def _target(recipe: Recipe) -> Iterator[Problem]:
    target = recipe.check.target
    if target is None:
        return
    key = "check.target"
    yield from columns.problems(target.columns, target.labels, key)
    if "rules" in target.metrics and not target.rules:
        hint = f"Set {key}.rules, say to [{{rule: one_word}}]."
        yield f"{key}.metric", f"{key}.metric is rules, but there are no rules.", hint
    if target.rules and "rules" not in target.metrics:
        hint = f"Set {key}.metric to rules, or {key}.rules to []."
        yield f"{key}.rules", f"{key}.rules are not used.", hint
    for i, rule in enumerate(target.rules):
        try:
            with warnings.catch_warnings(action="ignore"):
                find_rule(msgspec.to_builtins(rule))
        except (BadInput, RecursionError, OverflowError) as error:
            name = f"{key}.rules[{i}]"
            hint = error.hint if isinstance(error, BadInput) else "Write a simpler pattern."
            yield name, f"{name}: {getattr(error, 'message', error)}", hint


def _ask(recipe: Recipe) -> Iterator[Problem]:
    ask = recipe.ask
    if ask.documents and ask.search == "dense" and ask.embedder is None:
        hint = "Set ask.embedder to a static model, such as minishlab/potion-retrieval-32M, or ask.search to bm25."
        yield "ask.search", "ask.search is dense, but ask.embedder names no model.", hint
    if ask.overlap_words >= ask.chunk_words:
        message = f"ask.overlap_words is {ask.overlap_words}, but a passage has {ask.chunk_words} words."
        yield "ask.overlap_words", message, f"Set it to {ask.chunk_words // 5}, or less than a passage."


def _approaches(recipe: Recipe) -> Iterator[Problem]:
    section, target = recipe.approaches, recipe.check.target
    for key, names in (("approaches.only", section.only), ("approaches.settings", tuple(section.settings))):
        for name in names:
            if name not in APPROACHES.names():
                hint = did_you_mean(name[:60], APPROACHES.names())
                yield key, f"{key}: no approach {name[:60]!r}.", hint
    for i, source in enumerate(section.update.train if section.update is not None else ()):
        yield from _source(source, f"approaches.update.train[{i}]")
    if section.metric is not None and target is not None and section.metric not in target.metrics:
        metrics = ", ".join([*target.metrics, section.metric])
        hint = f"Set it to {' or '.join(target.metrics)}, or check.target.metric to [{metrics}]."
        message = f"approaches.metric: {section.metric} is not in check.target.metric."
        yield "approaches.metric", message, hint


def _budget(recipe: Recipe) -> Iterator[Problem]:
    """Require the same number of GPUs on each node."""
    nodes, gpus = recipe.budget.nodes or 1, recipe.budget.gpus
    if nodes == 1:
        return
    if gpus is None:
        hint = f"Set budget.gpus to {nodes * 4}, say, or to 0 for nodes without a GPU."
        yield "budget.nodes", f"budget.nodes is {nodes}, but budget.gpus is not set.", hint
    elif gpus % nodes:
        hint = f"Set it to a multiple of budget.nodes, such as {-(-gpus // nodes) * nodes}."
        yield "budget.gpus", f"budget.gpus is {gpus}, which {nodes} nodes can't share evenly.", hint
