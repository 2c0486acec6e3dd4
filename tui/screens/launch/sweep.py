"""A form that sweeps: fields with several values, their problems, and the runs they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from finetop.core.errors import BadInput, FinetopError
from finetop.core.recipe.load import Loaded, check_files, resolve_text
from finetop.core.recipe.sweeps import Axis, Pair, SweepPoint, count_of, points, require_valid_axes, values_of
from finetop.tui.screens.launch.form import Form, Problem, as_set, checked, edited, is_known


def swept(form: Form, key: str, *, is_swept: bool) -> Form:
    """Make a field hold several values, or only its first again."""
    keys = form.sweeps - {key} if not is_swept else form.sweeps | {key}
    changed = replace(form, sweeps=keys)
    if not is_swept and key in form.edits:
        return edited(changed, key, form.edits[key].partition(",")[0].strip())
    return changed


def axes_of(form: Form) -> tuple[Axis, ...]:
    """Return the settings with several values, in the form's order. Raises BadInput."""
    keys = [entry.key for entry in form.settings if entry.key in form.sweeps and entry.key in form.edits]
    axes = [Axis(key, values_of(form.edits[key], key)) for key in keys]
    return tuple(axis for axis in axes if len(axis.values) > 1)


def checked_all(form: Form) -> Form:
    """Resolve the form with each sweep's first value, then try every other value in its place."""
    if not form.sweeps:
        return checked(form)
    try:
        axes = axes_of(form)
        require_valid_axes(axes)
    except BadInput as error:
        key = next((key for key in form.sweeps if error.message.startswith(f"{key}:")), "")
        short = error.message.removeprefix(f"{key}: ").rstrip(".")
        at = key or min(form.sweeps)
        return replace(form, loaded=None, problems=(Problem(at, short, f"{error.message} {error.hint}"),))
    first = replace(form, edits={**form.edits, **{axis.key: axis.values[0] for axis in axes}})
    first_checked = checked(first)
    problems = list(first_checked.problems)
    for axis in axes:
        for value in axis.values[1:]:
            other = checked(replace(first, edits={**first.edits, axis.key: value}))
            new = [problem for problem in other.problems if problem not in first_checked.problems]
            problems += [Problem(each.key, f"{value}: {each.short}", each.whole) for each in new]
    loaded = None if problems else first_checked.loaded
    return replace(form, loaded=loaded, problems=tuple(problems), before=first_checked.before)


def runs_of(form: Form) -> int:
    """Count the runs that a valid form makes."""
    try:
        return count_of(axes_of(form))
    except BadInput:
        return 1


def points_of(form: Form) -> tuple[SweepPoint, ...]:
    """Resolve the recipe of each run. Raises FinetopError."""
    axes = axes_of(form)
    swept_keys = {axis.key for axis in axes}
    fixed = [key for key in form.edits if is_known(form, key) and key not in swept_keys]
    sets_before = [as_set(form, key, form.edits[key]) for key in fixed]

    def load(pairs: Sequence[Pair]) -> Loaded:
        sets = [*sets_before, *(as_set(form, key, value) for key, value in pairs)]
        loaded = resolve_text(form.base.text, sets, form.base.folder)
        if form.files_are_here:
            check_files(loaded)
        return loaded

    if form.loaded is None:
        raise FinetopError("fix the settings first.")
    return points(form.loaded.recipe.name, axes, load)
