"""`finetop show RUN`: print one run: state, data, last metrics, checkpoints, checks, samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core import plugins
from finetop.core.client.connection import Client
from finetop.core.commands import Command, Section
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, state_words
from finetop.core.protocol import runs as data, tags
from finetop.core.protocol.messages.limits import tries_words
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.recipe.written import as_yaml
from finetop.core.runtime.home import Home
from finetop.core.text import clean, clean_line
from finetop.core.wording import numbers_from, pulse, rewards
from finetop.core.wording.durations import ago
from finetop.core.wording.endings import state_word
from finetop.core.wording.jobs import answer_words
from finetop.core.wording.metrics import last_words
from finetop.core.wording.next_step import advised
from finetop.core.wording.verdicts import next_of_target, short_answer


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number")
    options.flag(parser, "--recipe", "print only its resolved recipe, as YAML")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        detail = client.ask(GetRun(args.run))
        doors = () if args.recipe else plugins.doors("show")
        sections = [door.read(client, detail) for door in doors]
    if args.json:
        facts = {key: value for section in sections for key, value in section.facts.items()}
        print_json({"run": plain(detail)} | facts)
    elif args.recipe:
        print(as_yaml(detail.recipe), end="")
    else:
        print_run(detail, home, sections)
    return 0


def print_run(detail: data.RunDetail, home: Home, sections: Sequence[Section] = ()) -> None:
    row = detail.row
    objective = "" if row.objective == row.method else f", {row.objective}"
    print(f"{row.name}  {row.tuned(clean_line(row.model))}{objective}, number {row.id}")
    print(f"  state      {state_words(row)}")
    if row.not_resumed:
        print(f"             {clean_line(row.not_resumed)}")
    if detail.recipe.get("model", {}).get("trust_remote_code"):
        print("  code       the model's own Python code is run: model.trust_remote_code is true")
    if reward_text := rewards.reward_words(detail.recipe.get("objective", {})):
        print(f"  reward     {reward_text}")
    for line in why(detail):
        print(f"             {clean_line(line)}")
    if row.steps or row.step:
        print(f"  step       {row.step} of {row.steps or '?'}   {detail.device}")
    elif detail.device.strip():
        print(f"  where      {detail.device.strip()}")
    if answer := answer_words(row, name_suite=True):
        print(f"  forgot?    {answer}")
    if last := last_words(row):
        print(f"  last       {last}")
    if detail.numbers_from is not None:
        for number, line in enumerate(numbers_from.read_lines(detail.numbers_from)):
            print(f"  {'' if number else 'numbers':10} {line}")
        if settings := numbers_from.settings_line(detail.numbers_from):
            print(f"  config     {settings}")
        for number, line in enumerate(numbers_from.left_out_lines(detail.numbers_from)):
            print(f"  {'' if number else 'left out':10} {line}")
    for source in detail.data:
        used = source.kept if source.used is None else source.used
        by_share = "" if source.used is None else " (by its share)"
        print(
            f"  data       {clean_line(source.source)}: {used} of {source.rows} rows{by_share},"
            f" {source.dropped} dropped, {source.truncated} truncated, longest {source.longest_tokens} tokens"
        )
    print_sections(sections, behind="data")
    if detail.best is not None:
        print(f"  best       {clean_line(detail.best.text)}")
    for check in detail.checks:
        claim = f" (check {check.claim} of this run)" if check.claim else ""
        standing = " (intermediate check)" if check.watch else claim
        verdict = f"{short_answer(check, name_suite=True)}{standing}"
        print(f"  check      at step {check.step}: {verdict}, {ago(check.at)} ago")
        if check.target_failed:
            print(f"             target failed: {clean_line(check.target_failed)}")
    print_sections(sections, behind="check")
    for checkpoint in detail.checkpoints:
        size = checkpoint.size_bytes / 1e6
        print(f"  checkpoint {checkpoint.step}: {checkpoint.path} ({checkpoint.kind}, {size:.1f} MB)")
    for parent in detail.parents:
        step = "" if parent.step is None else f"@{parent.step}"
        print(f"  parent     {clean_line(parent.name)}{step}, as {parent.setting}")
    for child in detail.children:
        step = "" if child.step is None else f" from step {child.step}"
        print(f"  child      {clean_line(child.name)}{step}, as its {child.setting}")
    if earlier := detail.alarms_total - len(detail.alarms):
        print(f"  alarms     {earlier} earlier ones")
    for alarm in detail.alarms:
        over = "" if alarm.over_step is None else f", over since step {alarm.over_step}"
        print(f"  alarm      step {alarm.step}: {clean_line(alarm.text)}{over}")
    for job in detail.jobs:
        on = f", on {data.gpus_word(job.gpus)}" if job.gpus else ""
        print(f"  job        {job.id} {job.verb}: {state_word(job.state)}, attempt {job.attempt}{on}")
        for line in job_words(job):
            print(f"             {line}")
    print(f"  folder     {home.shown}/{detail.folder}")
    newest = max((sample.step for sample in detail.samples), default=0)
    for sample in detail.samples:
        if sample.step == newest:
            print(f"  sample     {clean_line(sample.prompt, limit=100)}")
            print(f"             {clean(sample.text, limit=400)}")
    compared = [tag.removeprefix(tags.APPROACHES) for tag in row.tags if tag.startswith(tags.APPROACHES)]
    if compared:
        print(f"next: finetop approaches {clean_line(compared[0])}")
    elif command := next_command(row):
        print(f"next: {command}")


def print_sections(sections: Sequence[Section], behind: str) -> None:
    """Print the sections of features that stand behind one of ours."""
    for section in sections:
        for head, text in section.lines if section.behind == behind else ():
            print(f"  {head:10} {text}")


def next_command(row: data.RunRow) -> str:
    """Return the recommended command for a run, or an empty string."""
    match advised(row):
        case "resume" | "retry" | "check" as verb:
            return f"finetop {verb} {row.name}"
        case "check again":
            return next_of_target(row.name)
        case "remedies":
            return f"finetop remedy {row.name} --wait"
        case "":
            return ""


def why(detail: data.RunDetail) -> list[str]:
    """Return what is printed below a state that is not well: the hint and the end of the log, or the cause."""
    state = detail.row.state
    if isinstance(state, data.Running):
        return pulse.reasons(state)
    if isinstance(state, data.Stopped | data.Finished):
        return [state.cause] if state.cause else []
    if not isinstance(state, data.Failed | data.Lost):
        return []
    states = [job.state for job in detail.jobs if job.kind.makes_a_run]
    last = states[-1] if states else state
    lines = last.log if isinstance(last, data.Failed | data.Lost) else []
    hint = [state.hint] if isinstance(state, data.Failed) and state.hint not in ("", *lines) else []
    return [*hint, *(f"| {line}" for line in lines)]


def job_words(job: data.JobRow) -> list[str]:
    """Return the lines on a job: its cause, where it resumed and what changed, or where it writes to."""
    lines = [clean_line(job.unread)] if job.unread else []
    if (retry := job.args.get("retry")) is not None:
        tries = tries_words(int(retry.get("number", 0)), int(retry.get("of", 0)))
        lines.append(clean_line(f"{tries}, after: {retry.get('said', '')}"))
    if isinstance(job.state, data.Failed | data.Lost):
        lines.append(clean_line(job.state.cause))
    if resumed := job.args.get("resume"):
        has_begun = bool(resumed.get("checkpoint"))
        lines.append(f"from step {resumed.get('step')}" if has_begun else "from the beginning")
        lines += [clean_line(str(change)) for change in job.args.get("changes", ())]
    if facts := job.kind.facts(job.args):
        lines.append(facts)
    return lines


PLUGIN = Command("show everything about one run", "watch", run, arguments)
