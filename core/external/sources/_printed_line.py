"""One printed line as numbers: its pairs of names and values, and where it stands in the training."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

from finetop.core.external.sources._json_lines import NOT_METRICS, first, flat, has_loss, number, step_of

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?)"
_END = r"(?![\w.]|,\d{3}\b|:\d)"  # not the beginning of a version, of 1,234 or of a time of day
# before a dict
_OF_THE_RUN = re.compile(r"\b(?:best|final|average|mean|config|arg(?:ument)?s)\b", re.IGNORECASE)
_DICT = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_WRAPPED = re.compile(r"(?:np\.float\d+|tensor|array)\(([^(),]*)(?:,[^()]*)?\)")  # np.float64(0.5) -> 0.5
_BARE = re.compile(r"(?<![\w'\"])-?(?:nan|inf)(?![\w'\"])")
_PAIR = re.compile(
    r"(?:(?<![A-Za-z])(?P<before>[A-Za-z]+)\.? )?(?<![\w/.@?&'\"-])(?P<key>[A-Za-z_][\w/.@-]{0,60}?)"
    rf"(?P<sign>\s*[=:]\s*|\s+)(?:tensor\()?(?P<value>{_NUMBER}){_END}",
    re.IGNORECASE,
)
_PART = re.compile(
    r"\b(epoch|step|iter|iteration|batch|data)s?[\s:=#\[(]{0,16}(\d{1,18})\s*(?:/|\bof\b)\s*(\d{1,18})(?!\d)",
    re.IGNORECASE,
)
# `Epoch: [0][ 10/5005]`, `Train: 0 [ 0/1251 (0%)]`, `Train Epoch: 1 [64/60000 (0%)]`
_OF_EPOCH = re.compile(
    r"\b(epoch|train)(?:\(train\))?:?\s{0,8}(\[?)(\d{1,9})\]?\s{0,8}\[\s{0,12}(\d{1,18})/(\d{1,18})"
    r"(?:\s?\(\s*[\d.]+%\))?\]",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\[\s{0,12}(\d{1,18})/(\d{1,18})\]\s*$")  # `loss: 2.3  [   64/60000]`
# `[1,  2000] loss: 2.1`, `[10] loss=1.2`, `10 | loss 1.2`
_BEGINS = re.compile(r"^\s{0,8}(?:\[(\d{1,9}),\s*(\d{1,18})\]|(\d{1,18}) \|)|(?:^|\] )\[(\d{1,18})\]\s")
_EVALUATES = re.compile(
    r"(?:^|[|\[\]>])\s{0,4}(?:valid|validation|val|eval|evaluation|test)(?: set)?\s{0,4}(?:[|:\]]|on\b|loss at\b)",
    re.IGNORECASE,
)
_SETTINGS = re.compile(
    r"^\W*(?:namespace|\w*config\w*|\w*arguments?|args|params|hparams|options|settings)\s*[(:={]",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"[\W\d]*(?:(?:INFO|DEBUG)[\W\d]*)?", re.IGNORECASE)
COUNTED = ("global_step", "num_updates")  # steps of the whole run, whatever else a line counts
STEPS = ("step", *COUNTED, "steps", "iter", "iteration", "update", "batch")
SAMPLES = "data"
EPOCH = "epoch"
PROGRESS = "global_step/max_steps"  # ms-swift's '10/100'
# `loss 1.2`
NAMED: tuple[str, ...] = ("step", "iter", "iteration", "update", "num_updates", "epoch", "loss", "lr")
NAMED += ("grad_norm", "norm", "ppl", "xent", "acc", "accuracy")
# names of two words, by the second
TWO = {"rate": ("learning",), "norm": ("grad", "gradient"), "loss": ("lm", "total"), "step": ("global",)}
TRAIN, EVAL = ("train", "training"), ("val", "valid", "validation", "eval", "evaluation", "test")
MEANS = (
    "average",
    "avg",
    "mean",
    "running",
)  # of an epoch or since the last line: believed where a line has a step
LEVELS = ("info", "debug")
DONE = ("completed", "finished")  # `completed step: 10`
LOSSES = ("reward", "xent", "ppl", "perplexity")  # besides what ends in loss
NOT_VALUES = {
    *NOT_METRICS,
    *STEPS,
    "eta",
    "rank",
    "pid",
    "gpu",
    "seed",
    "v_num",
    "line",
    "version",
    "data",
    "train",
}
NOT_VALUES |= {"batch", "sample", "samples", "it", "total"}


class Row(NamedTuple):
    """A line's values and its place: -1 for no step or epoch, 0 for no total. `counts_rows`: the step is of rows."""

    values: dict[str, float]
    step: int = -1
    of: int = 0
    epoch: int = -1
    epochs: int = 0
    counts_rows: bool = False


def row_of(line: str) -> Row | None:
    """Return what a line of `key=1.2`, `key: 1.2` and `loss 1.2` logs; None if it has no loss."""
    if _SETTINGS.match(line):
        return None
    values = pairs_of(line)
    if not is_loss(values):
        return None
    parts = {word.lower(): (int(at), int(of)) for word, at, of in _PART.findall(line)}
    epoch, epochs = parts.pop(EPOCH, (whole(values, EPOCH), 0))
    rows, of_rows = parts.pop(SAMPLES, (-1, 0))
    row = Row(values, epoch=epoch, epochs=epochs)
    if (counted := whole(values, *COUNTED)) >= 0:
        return row._replace(step=counted, epoch=-1)
    if match := _OF_EPOCH.search(line):
        counts_rows = match[1].lower() == EPOCH and not match[2]
        return Row(values, int(match[4]), int(match[5]), int(match[3]), epochs, counts_rows)
    step, of = next(iter(parts.values()), (whole(values, *STEPS), 0))
    if step >= 0:
        return row._replace(step=step, of=of)
    if match := _BEGINS.search(line):
        if match[2]:
            return row._replace(step=int(match[2]), epoch=int(match[1]))
        return row._replace(step=int(match[3] or match[4]))
    if match := _PLACE.search(line):
        return row._replace(step=int(match[1]), of=int(match[2]), counts_rows=True)
    if rows >= 0:
        return row._replace(step=rows, of=of_rows, counts_rows=True)
    return row


def pairs_of(line: str) -> dict[str, float]:
    """Return the numbers of a line of pairs, by their keys in lower case."""
    evaluates = _EVALUATES.search(line) is not None
    pairs: dict[str, float] = {}
    means: dict[str, float] = {}
    for match in _PAIR.finditer(line.replace("loss value:", "loss:") if evaluates else line):
        before, key = (match["before"] or "").lower(), match["key"].lower()
        has_sign = bool(match["sign"].strip())
        if before == "loss" and (key in TRAIN or key in EVAL) and has_sign:  # litgpt's `loss train: 1.2`
            before, key = key, "loss"
        if not has_sign and key not in NAMED and not key.endswith("_loss") and before not in TWO.get(key, ()):
            continue
        value = number(match["value"], texts=True)
        if value is None:
            continue
        if before in MEANS and key == "loss":
            means.setdefault(key, value)
            continue
        if before in TWO.get(key, ()):
            key = f"{'grad' if key == 'norm' else before}_{key}"
        elif before in EVAL:
            key = f"eval_{key}"
        elif before and before not in (*TRAIN, *LEVELS) and not (before in DONE and key in STEPS):
            continue  # `best loss: 0.1` is another number
        if evaluates and (key in LOSSES or key.endswith("loss")) and not key.startswith(("eval", "val")):
            key = f"eval_{key}"
        pairs.setdefault(key, value)
    if means and not evaluates and (EPOCH in pairs or whole(pairs, *STEPS) >= 0):
        pairs = {**means, **pairs}
    return pairs


def logged(line: str) -> dict[str, float]:
    """Return the numbers of a dict that logs a step; empty for any other, such as a configuration."""
    before = line.partition("{")[0]
    if _OF_THE_RUN.search(before):
        return {}
    for text in _DICT.findall(line):
        raw = _mapping(text)
        values = flat(raw, texts=True)
        at, _, of = str(raw.get(PROGRESS, "")).partition("/")
        if at.isdecimal() and of.isdecimal():
            values.update(global_step=float(at), max_steps=float(of))
        elif step_of(values) is None and is_loss(values):  # `Step 10: {'loss': 1.2}`
            named = {word.lower(): float(at) for word, at in _NAMED_STEP.findall(before[-200:])}
            values.update(named)
        knows_when = EPOCH in values or step_of(values) is not None
        if knows_when and (is_loss(values) or any(key.startswith("eval_") for key in values)):
            return values
        if has_loss(values) and text == line.strip():
            return values
    return {}


_NAMED_STEP = re.compile(r"\b(epoch|step|iter|iteration)s?[\s:=#\[(]{0,4}(\d{1,9})\b", re.IGNORECASE)


def is_loss(values: dict[str, float]) -> bool:
    """Return whether values have a loss, by whatever name."""
    return any(key.lower().endswith("loss") or key.lower() in LOSSES for key in values)


def whole(values: dict[str, float], *keys: str) -> int:
    """Return the first of some values that is there, as a whole number; -1 if none is."""
    value = first(values, keys)
    return -1 if value is None else int(value)


def is_nothing_else(line: str) -> bool:
    """Return whether a line has only pairs, the time and the level of a logger."""
    return _LEVEL.fullmatch(_PAIR.sub(" ", line)) is not None


def _mapping(text: str) -> dict[str, Any]:
    """Read a JSON object or a Python dict; empty for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(_BARE.sub(r"'\g<0>'", _WRAPPED.sub(r"\1", text)))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return {}
    return value if isinstance(value, dict) else {}
