"""Chats: opens one as a job of a run, passes on what it is asked, and returns what it answered."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core import plugins
from finetop.core.check.checked_weights import base_folder
from finetop.core.data.weight_files import stamp_of
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.features.chat import messages, prompts, transcript as files
from finetop.core.features.chat.keep import append_row
from finetop.core.features.chat.messages import MOST_SIDES, ChatSide
from finetop.core.features.chat.sides import KIND
from finetop.core.features.chat.transcript import Place, Side
from finetop.core.features.data_versions import sql as data_versions
from finetop.core.features.remedies import sql as remedies, weights_now, wording
from finetop.core.features.triage import sql as triage
from finetop.core.protocol import accepts, job_kinds, runs as data
from finetop.core.protocol.messages.limits import Done
from finetop.core.runtime.files import make_inside
from finetop.core.runtime.home import Home
from finetop.core.store import checks, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.launchers.ask_job import ask as ask_job
from finetop.core.supervisor.queue import checks as queued_checks, ready
from finetop.core.supervisor.requests.stop_pause_kill import remove_from_queue
from finetop.core.supervisor.requests.submit import absolute
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import quoted

LOOK_S = 0.5  # between two looks at the state of a chat whose answers somebody waits for


async def open_chat(supervisor: Supervisor, ask: messages.OpenChat) -> messages.ChatOpened:
    """Queue a chat, or return the one that is open with the same sides.

    One that loaded other weights than there are now is not that chat. Raises NotFound for an unknown run, checkpoint
    or remedy, or one whose files are gone, BadInput for a side that can't answer.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    sides = [await side_of(supervisor, run_id, side) for side in ask.sides]
    sides = sides or await own_sides(supervisor, run_id)
    notices = [await notice_of(supervisor, run_id, side) for side in sides]
    run_id, name = runs.find_run(connection, ask.run)  # it may have been removed meanwhile
    if len(sides) > MOST_SIDES:
        raise BadInput(f"a chat has at most {MOST_SIDES} sides, not {len(sides)}.")
    recipe, recorded = runs.recipe(connection, run_id), data_versions.system_prompt(connection, run_id)
    system = await aside(partial(before_queueing, supervisor.home.root, sides, recipe, recorded))
    args: dict[str, Any] = {"sides": [side.plain for side in sides]}
    args |= {"system": system} if system else {}
    args |= {key: True for key in ("on_cpu", "is_own") if getattr(ask, key)}
    if not job_kinds.of("chat").only_reads(args) and not ask.on_cpu:
        await require_usable_gpus(supervisor, [recipe])
    opened = [side.side for side in sides]
    for job in jobs.of_run(connection, run_id, "chat"):
        is_this = {key: job.args[key] for key in job.args if key != "notices"} == args
        if is_this and not ask.is_own and is_open(job.state):
            return messages.ChatOpened(job.id, name, opened, system, notices)
    args |= {"notices": notices} if any(notices) else {}
    with transaction(connection):
        job_id, _ = jobs.add_job(
            connection, run_id=run_id, verb="chat", args=args, priority=jobs.CHECK_PRIORITY
        )
    supervisor.chats.keys[job_id] = {
        place: ask.keys[side.key_env] for place, side in enumerate(opened) if side.key_env in ask.keys
    }
    supervisor.touch()
    return messages.ChatOpened(job_id, name, opened, system, notices)


async def notice_of(supervisor: Supervisor, run_id: int, side: Side) -> str:
    """Return in words that a side's weights are others than those that its check, or its remedy's, is of."""
    connection, kind, step = supervisor.connection, side.side.kind, side.side.step
    if kind not in ("base", "checkpoint"):
        return ""
    run_id, name = runs.find_run(connection, side.side.run) if side.side.run else (run_id, "")
    if kind == "base":
        return await queued_checks.outdated_base(supervisor, run_id)
    if step is None:
        return ""
    if outdated := await queued_checks.outdated(supervisor, run_id, step):
        return outdated
    tried = remedies.of_run(connection, run_id, step)
    now = await weights_now.weights_now(supervisor, run_id, tried, hashes=True)
    if now.get(side.side.remedy, "same") == "same":
        return ""
    return wording.tried_on_others(side.side.remedy, f"{name}@{step}")


def before_queueing(home: Path, sides: Sequence[Side], recipe: dict[str, Any], recorded: str | None) -> str:
    """Require the files of all sides, and return the system prompt that a run was trained with. Raises NotFound."""
    for side in sides:
        files.require_checkpoint(home, side)
    return prompts.trained_system(recipe, recorded)


def is_open(state: data.State) -> bool:
    """Return whether a chat's job waits, or runs and was not asked to end."""
    return isinstance(state, data.Queued) or (isinstance(state, data.Running) and not state.asked)


# --- sides ----------------------------------------------------------------------------------------------------


async def own_sides(supervisor: Supervisor, run_id: int) -> list[Side]:
    """Return a run's base beside its best or newest checkpoint; a new model has no base."""
    tuned = await checkpoint_side(supervisor, run_id, ChatSide("tuned", "checkpoint"))
    if not plugins.has_base(runs.row(supervisor.connection, run_id).objective):
        return [tuned]
    return [await base_side(supervisor, run_id, ChatSide("base", "base")), tuned]


async def side_of(supervisor: Supervisor, run_id: int, side: ChatSide) -> Side:
    """Resolve a side: its run, its checkpoint, its remedy. Raises NotFound, BadInput, Refused."""
    match side.kind:
        case "gguf":
            path = absolute(side.path, "path")
            KIND.load(side.kind).check(side)
            stamp = await aside(partial(stamp_of, path))
            return Side(msgspec.structs.replace(side, label=side.label or path.name), Place(stamp=stamp))
        case "endpoint":
            KIND.load(side.kind).check(side)
            return Side(msgspec.structs.replace(side, label=side.label or side.model or side.url))
        case "base":
            return await base_side(supervisor, run_id, side)
        case "checkpoint":
            return await checkpoint_side(supervisor, run_id, side)


async def base_side(supervisor: Supervisor, run_id: int, side: ChatSide) -> Side:
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, side.run) if side.run else (run_id, "")
    row = runs.row(connection, run_id)
    if not plugins.has_base(row.objective):
        raise BadInput(f"{row.name} is a new model: it has no base.", hint="Leave the base out.")
    named = msgspec.structs.replace(side, label=side.label or "base", run=name or row.name)
    stamp = await aside(partial(stamps_of, runs.recipe(connection, run_id), supervisor.home))
    return Side(named, Place(folder_of(connection, run_id), stamp=stamp))


async def checkpoint_side(supervisor: Supervisor, run_id: int, side: ChatSide) -> Side:
    connection = supervisor.connection
    run_id = runs.find_run(connection, side.run)[0] if side.run else run_id
    row = runs.row(connection, run_id)
    accepts.weights(row.method, row.name)
    if not plugins.writes_text(row.objective):
        raise BadInput(f"{row.name} is a reward model, which generates no text.", hint="Pick another run.")
    gone = await saved_checkpoints.gone(supervisor, run_id)
    step, path = checks.newest_checkpoint(connection, run_id, side.step, gone if not side.remedy else ())
    candidate = None
    if side.remedy:
        candidate = remedy_of(connection, run_id, step, side.remedy, gone)
        _, path = checks.newest_checkpoint(connection, run_id, candidate["step"], gone)
    label = side.label or (f"{row.name}@{step}" + (f" {side.remedy}" if side.remedy else ""))
    named = msgspec.structs.replace(side, label=label, run=row.name, step=step)
    run_folder = folder_of(connection, run_id)
    weights = supervisor.home.root / run_folder / path
    stamp = await aside(partial(stamps_of, runs.recipe(connection, run_id), supervisor.home, weights))
    keeps, follows = plugins.keeps_base(row.method), side.step is None and not side.remedy
    return Side(named, Place(run_folder, path, keeps, candidate, follows, stamp))


def stamps_of(recipe: Mapping[str, Any], home: Home, *checkpoint: Path) -> str:
    """Return what tells the weights of a run's base, and of a checkpoint, from others in their place."""
    base = base_folder(recipe, home)
    return " ".join(map(stamp_of, (*checkpoint, *([] if base is None else [base]))))


def remedy_of(
    connection: Connection, run_id: int, step: int, name: str, gone: Collection[int]
) -> dict[str, Any]:
    """Return how to make a remedy's model from a checkpoint. Raises NotFound, Refused."""
    found = remedies.candidates(connection, run_id, runs.recipe(connection, run_id), step, gone)
    by_name = {candidate.name: candidate for candidate in found}
    if name not in by_name:
        hint = did_you_mean(name[:60], by_name) or "See `finetop remedy`."
        raise NotFound(f"this run has no remedy {quoted(name)}.", hint=hint)
    if why_not := by_name[name].why_not:
        raise Refused(f"{name} is not available: {why_not}.")
    facts: dict[str, Any] = msgspec.to_builtins(by_name[name])
    return facts


def folder_of(connection: Connection, run_id: int) -> str:
    """Return a run's folder, relative to the home."""
    return runs.detail(connection, run_id).folder


# --- asking and reading ---------------------------------------------------------------------------------------


def chat_of(supervisor: Supervisor, run: str, job_id: int) -> tuple[data.JobRow, Path]:
    """Return a run's chat and its folder. Raises NotFound."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, run)
    for job in jobs.of_run(connection, run_id, "chat"):
        if job.id == job_id:
            return job, supervisor.home.root / folder_of(connection, run_id) / job.folder
    raise NotFound(f"{name} has no chat {job_id}.", hint=f"Open one: finetop chat {name}.")


def open_chat_of(supervisor: Supervisor, run: str, job_id: int) -> tuple[data.JobRow, Path]:
    """Return a run's chat and its folder, if it is open. Raises NotFound, Refused."""
    job, folder = chat_of(supervisor, run, job_id)
    if not is_open(job.state):
        raise Refused("the chat has ended.", hint=f"Open another: finetop chat {run}.")
    return job, folder


async def put(supervisor: Supervisor, ask: messages.AskChat) -> Done:
    """Pass a prompt on; the same number again changes nothing. Raises NotFound, BadInput, Refused."""
    job, folder = open_chat_of(supervisor, ask.run, ask.job)
    sides = len(files.sides_of(job.args))
    if any(not 0 <= place < sides for place in ask.sides):
        raise BadInput(f"sides is {ask.sides}, and this chat has {sides}.", hint="They count from 0.")
    if ask.number < 1 or not ask.text.strip():
        raise BadInput(
            "the prompt is empty." if ask.number > 0 else f"number is {ask.number}, not 1 or more."
        )
    settings = ask.settings
    if settings.system is None:
        settings = msgspec.structs.replace(settings, system=job.args.get("system", ""))
    line = files.Prompt(ask.number, ask.text, settings, ask.fresh, ask.sides)
    async with supervisor.chats.turn:
        await aside(partial(put_once, folder, supervisor.home.runs, line))
    return Done(f"asked {sides if not ask.sides else len(ask.sides)}.")


def put_once(folder: Path, above: Path, line: files.Prompt) -> None:
    """Append a prompt to a chat's asks, unless it is there. Raises Refused for a number that is taken."""
    make_inside(folder, above)
    newest = 0
    for earlier in files.read_asks(folder)[0]:
        if isinstance(earlier, files.Prompt):
            newest = max(newest, earlier.number)
            if earlier.number == line.number and earlier.text == line.text:
                return
    if line.number <= newest:
        raise Refused(f"prompt {line.number} was put before.", hint=f"The next one is {newest + 1}.")
    files.append_ask(folder, line)


async def stop_answers(supervisor: Supervisor, ask: messages.StopAnswers) -> Done:
    _, folder = open_chat_of(supervisor, ask.run, ask.job)
    await append(supervisor, folder, files.StopLine(ask.side))
    return Done("stopping.")


async def append(supervisor: Supervisor, folder: Path, line: files.AskLine) -> None:
    """Append a line to a chat's asks, in a thread."""

    def work() -> None:
        make_inside(folder, supervisor.home.runs)
        files.append_ask(folder, line)

    async with supervisor.chats.turn:
        await aside(work)


async def read(supervisor: Supervisor, ask: messages.ReadChat) -> messages.ChatPiece:
    """Return what is new in a chat's transcript, waiting for it; whoever reads counts as being there."""
    job, folder = chat_of(supervisor, ask.run, ask.job)
    offset, until = max(0, ask.offset), time.monotonic() + ask.wait_s
    supervisor.chats.read_at[ask.job] = time.monotonic()
    if is_open(job.state):
        await aside(partial(note_reader, folder, supervisor.home.runs))
    first = state = seen_state(supervisor, job)
    while True:
        left_s = max(0.0, min(LOOK_S, until - time.monotonic()))
        is_over = isinstance(state, data.Ended) or supervisor.ending.is_set()
        wait_s = 0.0 if is_over else left_s
        lines, following = await aside(partial(files.wait_for_answers, folder, offset, wait_s))
        before, state = state, seen_state(supervisor, job)
        if lines or following != offset:
            return messages.ChatPiece(lines, following, state)
        if isinstance(state, data.Ended) and not isinstance(before, data.Ended):
            continue  # what it wrote at its end
        if is_over or state != first or time.monotonic() >= until:
            return messages.ChatPiece([], following, state)


def note_reader(folder: Path, above: Path) -> None:
    """Record that somebody reads; a full disk does not keep him from it."""
    with suppress(OSError):
        make_inside(folder, above)
        files.touch(folder)


def seen_state(supervisor: Supervisor, job: data.JobRow) -> data.State:
    """Return the present state of a chat's job, with its place in the queue and the reason if it waits."""
    connection = supervisor.connection
    state = data.visible_state(jobs.state_of(connection, job.id))
    if not isinstance(state, data.Queued) or state.because:
        return state
    line = jobs.waiting_line(connection, ready.why(supervisor))
    return next((queued for other, queued in line if other.id == job.id), state)


def close(supervisor: Supervisor, ask: messages.CloseChat) -> Done:
    """End a chat: its answers so far stay. Raises NotFound."""
    connection = supervisor.connection
    chat_of(supervisor, ask.run, ask.job)
    with transaction(connection):
        for job in jobs.live(connection):
            if job.id == ask.job and not job.asked:
                ask_job(connection, job, "stop")
        for job in jobs.queued(connection):
            if job.id == ask.job:
                remove_from_queue(connection, job)
    supervisor.touch()
    return Done("the chat is closed.")


# --- prompts to pick, and answers to keep ----------------------------------------------------------------------


async def list_prompts(supervisor: Supervisor, ask: messages.ChatPrompts) -> messages.ChatPromptsAnswer:
    """List a run's prompts: its recipe's, rows of its test file, items that its newest check lost. Raises NotFound."""
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    recipe, limit = runs.recipe(connection, run_id), max(0, ask.limit)
    try:
        lost = prompts.of_lost(triage.known_check(connection, ask.run).outcome.flips, limit)
    except NotFound:  # not checked yet
        lost = []
    rows = await aside(partial(prompts.of_test, recipe, limit))
    return messages.ChatPromptsAnswer([*prompts.of_recipe(recipe)[:limit], *rows, *lost])


async def keep_answer(supervisor: Supervisor, ask: messages.KeepAnswer) -> Done:
    """Keep an answer as a sample of the run, or as a row of a file. Raises NotFound, Refused, BadInput."""
    job, folder = chat_of(supervisor, ask.run, ask.job)
    sides = files.sides_of(job.args)
    if not 0 <= ask.side < len(sides):
        raise BadInput(f"side is {ask.side}, and this chat has {len(sides)}.", hint="They count from 0.")
    if not ask.to and not is_open(job.state):
        raise Refused("the chat has ended, and a sample needs one that is open.", hint="Keep it in a file.")
    target = absolute(ask.to, "to") if ask.to else None
    asks, answers = await aside(lambda: (files.read_asks(folder)[0], files.all_answers(folder)))
    prompt = next(
        (line for line in asks if isinstance(line, files.Prompt) and line.number == ask.number), None
    )
    own = [line for line in answers if (line.number, line.side) == (ask.number, ask.side)]
    text = ask.text or "".join(line.text for line in own if line.kind == "text")
    if prompt is None or not own:
        raise NotFound(f"this chat has no answer to prompt {ask.number} of side {ask.side}.")
    if target is not None:
        system = "" if prompt.settings.raw else prompt.settings.system or ""
        await aside(partial(append_row, target, prompt.text, system, text))
        return Done(f"added to {target}.")
    step = sides[ask.side].side.step or 0
    await append(supervisor, folder, files.Keep(step, ask.number, prompt.text, text))
    return Done(f"kept as a sample of {ask.run}.")


ANSWERS = {
    messages.OpenChat: open_chat,
    messages.AskChat: put,
    messages.StopAnswers: stop_answers,
    messages.ReadChat: read,
    messages.CloseChat: close,
    messages.ChatPrompts: list_prompts,
    messages.KeepAnswer: keep_answer,
}
