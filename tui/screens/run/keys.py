"""The keys of the Run screen, those its footer shows on each tab, and the next step."""

from __future__ import annotations

from finetop.core.protocol.accepts import accepts
from finetop.core.protocol.runs import (
    CheckBrief,
    Failed,
    Finished,
    Lost,
    Queued,
    RunDetail,
    Running,
    Stopped,
)
from finetop.core.recipe.command import output_in
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.metrics import title_of
from finetop.core.wording.next_step import advised, is_held
from finetop.tui.keys import MATCH, MATCHES, Key, after_search, moves
from finetop.tui.screens.run.head import Tab
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.shared.fix import fix_of
from finetop.tui.screens.shared.run_actions import CHAT, GO_ON, KILL, NEW, PAUSE, REMEDIES, RETRY, STOP
from finetop.tui.screens.shared.run_status import next_step
from finetop.tui.text import cut_middle

CURSOR = Key("left,h", "cursor", "cursor(-1)", "chart cursor, or right sample: left", sign="←→")
RIGHT = Key("right", "", "cursor(1)", "right")
FAR_LEFT = Key("shift+left", "", "cursor(-10)", "ten columns, or left sample: left")
FAR_RIGHT = Key("shift+right", "", "cursor(10)", "right")
ZOOM = Key("plus,equals_sign", "zoom", "zoom(1)", "zoom in around the cursor")
ZOOM_OUT = Key("minus", "", "zoom(-1)", "zoom out")
ALL = Key("0", "all", "all", "show all steps, clear the cursor")
AXIS = Key("x", "axis", "axis", "x axis by step, tokens, time or epoch")
FIT = Key("i", "fit", "fit", "fit the axes to the data, or show them whole")
FULL = Key("z", "full screen", "full", "the chart under the cursor full screen, or back to the grid")
LOG_SCALE = Key("y", "log scale", "log_scale", "logarithmic y axis on or off")
SMOOTH = Key("m", "smooth", "smooth", "smooth the curves: off, 0.6, 0.9")
NEXT_TAB = Key("tab", "next tab", "tab(1)", "next tab")
TAB_BEFORE = Key("shift+tab", "", "tab(-1)", "previous tab")
CHECK = Key("f", "check", "check", "check for forgetting", "finetop check RUN[@STEP]")
LOG = Key("l", "log", "log", "the whole log, at the cursor's step", "finetop tail --log RUN")
SEARCH = Key("slash", "search", "search", "filter metrics; else search the log, or go to `step N`")
_NEXT_EVENT = "next event: alarm, check or checkpoint"
EVENT = Key("right_square_bracket", "alarm, checkpoint", "event(1)", _NEXT_EVENT, sign="[ ]")
EVENT_BEFORE = Key("left_square_bracket", "", "event(-1)", "previous event")
HITS = Key("full_stop", "", "hit(1)", "next match in the log")
HIT_BEFORE = Key("comma", "", "hit(-1)", "previous match in the log")
STEPS = Key("s", "steps", "steps", "checkpoints", "finetop show RUN")
VIEW = Key("v", "switch", "view", "switch metric group, check, job log, samples or settings")
OPEN = Key(
    "enter", "open", "open", "go deeper: check, log, answers, the chart full screen", "finetop flips RUN"
)
TRIAGE = Key("2", "triage", "triage", "this run in Triage", "finetop triage RUN")
FOLDER = Key("o", "folder", "folder", "open its folder: editor, pager, shell, or copy its path")
BACK = Key("escape", "back", "back", "back one level")
MOVES = moves(last="last row; in the log: follow its end")
KEYS = (
    *MATCHES,
    *(NEXT_TAB, TAB_BEFORE, OPEN, CURSOR, RIGHT, FAR_LEFT, FAR_RIGHT, ZOOM, ZOOM_OUT, ALL, AXIS),
    *(FIT, FULL, LOG_SCALE, SMOOTH, EVENT, EVENT_BEFORE),
    *(CHECK, REMEDIES, CHAT, STOP, PAUSE, RETRY, KILL, NEW, LOG, STEPS, VIEW, FOLDER, TRIAGE, BACK),
    *(SEARCH, HITS, HIT_BEFORE, *MOVES),
)

_METRIC = Key("", "metric", sign="↑↓")
_FULL = Key("", "full screen", sign="enter")
_GRID = Key("", "all charts", sign="esc")
_NAMES = Key("", "find", sign="/")
_GROUP = Key("", "group", sign="v")
_PAGE = Key("", "page", sign="pgdn")
_SCROLL = Key("", "scroll", sign="↑↓")
_TASK = Key("", "task", sign="↑↓")
_STEP = Key("", "step", sign="↑↓")
_ANSWERS = Key("", "answers", sign="enter")
_EARLIER = Key("", "earlier check", sign="v")
_OTHER_JOB = Key("", "other job", sign="v")
_END_SEARCH = Key("", "end search", sign="esc")
_MORE_SAMPLES = Key("", "more steps", sign="v")
_PAIR = Key("", "right step", sign="←→")
_PAIR_LEFT = Key("", "left step", sign="⇧←→")
_SETTINGS = Key("", "all or differing", sign="v")
_OPEN_RUN = Key("", "open it", sign="enter")


def footer_keys(state: ViewState) -> tuple[Key, ...]:
    """Return the footer keys: those of the tab, then those of the run."""
    if state.held.detail is None:
        return (BACK,)
    keys = _footer_keys(state)
    return tuple(key for key in keys if key is not NEW) if state.has_search else keys


def _footer_keys(state: ViewState) -> tuple[Key, ...]:
    detail = state.detail
    stop: tuple[Key, ...] = ()
    if detail.row.is_under_way:
        stop = (STOP, GO_ON if is_held(detail.row) else PAUSE)
    elif isinstance(detail.row.state, Failed | Lost | Stopped):
        stop = (RETRY,)
    check = (CHECK,) if detail.checkpoints else ()
    chat = (CHAT,) if accepts(detail.row, "remedies") else ()
    scroll = (_SCROLL,) if state.is_longer else ()
    if state.is_reading:
        return (*scroll, BACK)
    match state.tab:
        case "metrics":
            if not detail.row.metrics:
                return (NEXT_TAB, *stop, LOG, NEW, BACK)
            back = () if state.is_full else (BACK,)  # esc leads to all charts first
            return (*_chart_keys(state), *stop[:1], *back, SMOOTH, LOG_SCALE, *stop[1:], *check, STEPS)
        case "log":
            jobs = (_OTHER_JOB,) if len(detail.jobs) > 1 else ()
            hits = (MATCH, _END_SEARCH) if state.has_search else ()
            return (*scroll, SEARCH, *hits, *jobs, NEXT_TAB, *stop, BACK, *check)
        case "samples":
            pair = (_PAIR, _PAIR_LEFT) if state.samples == "beside" else ()
            return (*scroll, *pair, _MORE_SAMPLES, *chat, NEXT_TAB, *stop, BACK)
        case "recipe":
            return (*scroll, _SETTINGS, NEW, NEXT_TAB, *stop, BACK)
        case "check":
            earlier = (_EARLIER,) if len(detail.checks) > 1 else ()
            triage = (TRIAGE,) if detail.checks else ()
            return (_TASK, _ANSWERS, REMEDIES, *chat, *triage, *earlier, NEXT_TAB, *stop, BACK, *check)
        case "steps":
            on = (_OPEN_RUN,) if state.chosen_relative is not None else check
            return (_STEP, *on, *chat, NEXT_TAB, *stop, BACK)
        case "system":
            return (*scroll, CURSOR, ZOOM, AXIS, NEXT_TAB, *stop[:1], BACK, SMOOTH)


def _chart_keys(state: ViewState) -> tuple[Key, ...]:
    shown, detail = state.shown, state.detail
    is_moved = (ALL,) if shown.cursor is not None or shown.zoom is not None else ()
    chart_keys = (CURSOR, ZOOM, *is_moved, AXIS)
    if state.is_full:
        return (_GRID, _METRIC, *chart_keys, FIT)
    match = (MATCH,) if state.has_search else ()
    if state.metric is not None:
        return (_METRIC, _FULL, *match, *chart_keys, FIT)
    more = (_PAGE, _NAMES, _GROUP) if len(state.metric_keys) > state.room else ()
    events = (EVENT,) if detail.checkpoints or detail.alarms else ()
    return (CURSOR, ZOOM, *match, *is_moved, _METRIC, *more, AXIS, *events, FIT)


def check_duration(detail: RunDetail) -> str:
    """Return how long the last check took, or an empty string."""
    checks = [job.state for job in detail.jobs if job.kind.gives_verdict and isinstance(job.state, Finished)]
    return f" (about {long_span(checks[-1].ended - checks[-1].since)})" if checks else ""


def next_of(state: ViewState) -> tuple[str, str]:
    """Return the next step for the run: its key and text."""
    step = _next_of(state)
    return after_search(step) if state.has_search else step


def _next_of(state: ViewState) -> tuple[str, str]:
    detail, row, tab = state.detail, state.row, state.tab
    if state.is_reading:
        return "esc", "back to the table of tasks"
    if tab == "steps" and (relative := state.chosen_relative) is not None:
        return "enter", f"open {cut_middle(clean_line(relative.name), 40)}"
    if tab == "steps" and (step := _unchecked(state)) is not None:
        return "f", f"check step {count(step)} for forgetting{check_duration(detail)}"
    if (metric := state.metric) is not None:
        text = "back to all charts" if state.is_full else f"{title_of(metric)} full screen"
        return ("esc" if state.is_full else "enter"), text
    if isinstance(row.state, Failed | Lost):
        knows = fix_of(row) or isinstance(row.state, Lost)
        return next_step(row) if knows or tab == "log" else ("l", "read the end of its log")
    if is_held(row):
        return next_step(row)
    if isinstance(row.state, Queued):
        return "esc", "back to Runs; it starts on its own"
    if row.checking is not None:
        is_seen = tab == "check"
        return ("esc", "back to Runs; the check keeps running") if is_seen else ("enter", "watch the check")
    if isinstance(row.state, Running):
        return _next_while_running(detail, tab)
    if row.check is None or row.side_jobs:
        return next_step(row)
    rest = _items_left(row.check) if row.check.verdict == "regressed" and accepts(row, "check") else 0
    if tab == "check" and rest:
        return "f", f"check the remaining {counted(rest, 'item')} to see which tasks lost it"
    if tab == "check":
        answers = ("enter", "read the changed answers in full")
        return answers if row.check.drop is not None else ("n", "a new run from this one")
    if advised(row):
        return next_step(row)
    return "enter", "see what the check found, task by task"


def _unchecked(state: ViewState) -> int | None:
    """Return the step under the cursor if it is unchecked and can be checked now."""
    chosen, detail = state.chosen_step, state.detail
    is_checked = chosen is not None and any(check.step == chosen.step for check in detail.checks)
    return None if chosen is None or is_checked or not accepts(detail.row, "check") else chosen.step


def _items_left(check: CheckBrief) -> int:
    """Count the unused items of a drop that is proven over all tasks together but on no single one."""
    return 0 if any(task.mark == "lost" for task in check.worst) else check.items_total - check.items_used


def _next_while_running(detail: RunDetail, tab: Tab) -> tuple[str, str]:
    row = detail.row
    if detail.checkpoints and accepts(row, "check"):
        newest = max(checkpoint.step for checkpoint in detail.checkpoints)
        if row.check is None or row.check.step != newest:
            took = check_duration(detail)
            return "f", f"check step {count(newest)} for forgetting{took}; training continues"
        if tab == "check":
            return "tab", "see the checkpoints"
        return "enter", "see what the check found, task by task"
    end = " and is checked at its end" if _checks_at_end(detail) else ""
    return "esc", f"back to Runs; it keeps running{end}"


def _checks_at_end(detail: RunDetail) -> bool:
    check, command = detail.recipe.get("check"), detail.recipe.get("command")
    if detail.row.maker.of_others and command and not (command["output"] or output_in(command["run"])):
        return False
    return isinstance(check, dict) and bool(check.get("at_end")) and check.get("general") is not None
