"""`finetop run RECIPE`: queue a run, a chain of runs or a sweep; --wait follows a run to its verdict."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from finetop.core.client.connection import Client, ask_once
from finetop.core.client.remote.recipe_files import portable_recipe, require_files
from finetop.core.commands import Command
from finetop.core.commands.plan import on_its_base
from finetop.core.commands.queue import priority_of
from finetop.core.commands.shared import options
from finetop.core.commands.shared.follow import Progress, exit_code, until_over
from finetop.core.commands.shared.output import plain, print_json, reply, state_words, warn
from finetop.core.errors import BadInput, FinetopError
from finetop.core.external import trainers
from finetop.core.external.recipe import ENDINGS, CommandRequest, command_recipe, with_environment
from finetop.core.external.trainers import Known
from finetop.core.plan import ahead
from finetop.core.plan.result import Shown, as_error
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages import submit
from finetop.core.protocol.messages.machine import LookAhead
from finetop.core.protocol.messages.runs import GetRun, Runs
from finetop.core.protocol.messages.session import Hello
from finetop.core.protocol.messages.submit import Submit, SubmitAnswer, SubmitChain, SubmitSweep
from finetop.core.protocol.request import Answer, Request
from finetop.core.recipe import command as commands, sweeps
from finetop.core.recipe.command import VARIABLE
from finetop.core.recipe.find import by_name
from finetop.core.recipe.load import Loaded, load_recipe, recipe_to_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.recipe.stages import Chain, load_chain
from finetop.core.recipe.sweeps import Axis, Pair
from finetop.core.runtime import ranks
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, plain as plain_text, quoted
from finetop.core.wording.jobs import answer_words

SECONDS = 1.2  # for reading rows, of the 2 s that the checks before queueing may take


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "a built-in recipe's name, or a .yaml file; instead of it any program: -- COMMAND …"
    options.path(parser, "recipe", "RECIPE", about, nargs="?")
    about = "change one setting: train.learning_rate=1e-4; for one stage of a chain: sft.train.epochs=1"
    options.settings(parser, about)
    about = "one run per value: train.learning_rate=1e-5,2e-5; repeatable: all combinations"
    options.repeated(parser, "--sweep", "KEY=V,V", about)
    options.value(parser, "--seeds", "N", "each run with seeds 1 to N: see finetop sweep", type=options.count)
    options.name(parser, "name of the run or chain")
    about = "start a chain at this stage, from the runs of its earlier stages"
    options.value(parser, "--from", "STAGE", about, dest="first", default="")
    of_command = options.of_command(parser)
    about = "RECIPE is another trainer's configuration: axolotl, llamafactory, torchtune, trl, trl:dpo"
    options.value(of_command, "--with", "TRAINER", about, dest="trainer", default="")
    about = "the command that resumes it after a pause or a failure, quoted as in a shell; {checkpoint}: its newest"
    options.value(of_command, "--resume-command", "WORDS", about, default="")
    about = "a variable of its environment, of this value or of this shell's; repeatable"
    options.repeated(of_command, "--env", "NAME[=VALUE]", about)
    options.queueing(parser)
    options.flag(parser, "--force", "queue it even if the job is known to fail, and print why")
    options.wait(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    priority = priority_of(args.priority)
    sets = [*args.set, *options.name_set(args)]
    if args.command or args.trainer:
        return run_command(args, home, sets, priority)
    require_recipe(args)
    chain = load_chain(args.recipe, sets)
    if args.sweep or args.seeds is not None:
        if chain is not None:
            hint = "Sweep one of its stages."
            raise BadInput(f"{args.recipe} has stages, and a chain can't be swept.", hint=hint)
        return run_sweep(args, home, sets, priority, lambda sets: load_recipe(args.recipe, sets))
    if chain is not None:
        return run_chain(args, home, chain, priority)
    if args.first:
        raise BadInput(f"--from {args.first}: {args.recipe} has no stages.", hint="Leave --from out.")
    return run_one(args, home, load_recipe(args.recipe, sets), priority)


def require_recipe(args: argparse.Namespace) -> None:
    """Require a recipe, and none of the options of a command. Raises BadInput."""
    if not args.recipe:
        raise BadInput("a recipe is missing.", hint="Try finetop run lora, or finetop run -- COMMAND.")
    if args.recipe.endswith(ENDINGS):
        program = "python" if args.recipe.endswith(".py") else "sh"
        hint = f"Start it as a command: finetop run -- {program} {plain_text(args.recipe)}."
        raise BadInput(f"{plain_text(args.recipe)} is not a recipe.", hint=hint)
    given = [name for name in ("output", "base", "metrics", "resume_command", "env") if getattr(args, name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise BadInput(f"{option} is for a command: finetop run … -- COMMAND.", hint=f"Leave {option} out.")


def run_command(args: argparse.Namespace, home: Home, sets: Sequence[str], priority: int) -> int:
    """Queue another program's training, or a sweep of it. Raises BadInput."""
    if args.first or bool(args.recipe) != bool(args.trainer) or bool(args.command) == bool(args.trainer):
        hint = "Give one of: a recipe; -- and a command; --with TRAINER and its configuration."
        raise BadInput("it is not clear what to run.", hint=hint)
    known = Known(tuple(args.command))
    if args.trainer:
        known = trainers.known(args.trainer, args.recipe, Path.cwd())
    request = CommandRequest(
        known.words,
        Path.cwd(),
        output=args.output or known.output,
        base=args.base or known.base,
        metrics=tuple(args.metrics),
        resume=words_of(args.resume_command) or known.resume,
        data=known.data,
    )
    sets = [*sets, *variables_of(args.env)]
    if args.sweep or args.seeds is not None:
        return run_sweep(args, home, sets, priority, lambda sets: command_recipe(request, sets))
    return run_one(args, home, command_recipe(request, sets), priority)


def variables_of(given: Sequence[str]) -> list[str]:
    """Return the variables of --env as settings; one without a value has this shell's. Raises BadInput."""
    sets = []
    for text in given:
        name, equals, value = text.partition("=")
        if not VARIABLE.fullmatch(name):
            hint = "Write --env NAME=VALUE, or --env NAME."
            raise BadInput(f"--env: {quoted(text)} does not begin with a variable's name.", hint=hint)
        if not equals and name not in os.environ:
            message = f"--env {name}: this shell has no variable of that name."
            raise BadInput(message, hint=f"Give its value: --env {name}=VALUE.")
        value = value if equals else os.environ[name]
        sets.append(f"command.env.{name}={msgspec.json.encode(value).decode()}")
    return sets


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of --resume-command as a shell would split them. Raises BadInput."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        hint = "Quote it as in a shell: --resume-command 'python train.py --resume'."
        raise BadInput(f"--resume-command: {str(error).lower()}.", hint=hint) from error


def run_one(args: argparse.Namespace, home: Home, loaded: Loaded, priority: int) -> int:
    """Queue one run; with --wait, follow it to its end."""
    resolved = require_files(loaded, home)
    if loaded.recipe.command is not None:
        resolved = resolved if home.link is not None else with_environment(resolved)
        forced = []
    else:
        forced = require_sound([loaded.recipe], home, force=args.force)
    queued = queue(home, Submit(resolved, loaded.text, loaded.recipe.name, args.hold, priority), forced)
    if args.wait:
        return follow_run(args, home, queued.name)
    follow = f"Follow it: finetop tail {queued.name}"
    if queued.held:
        follow = f"finetop queue release {queued.name} releases it"
    document = {"run": queued.name, "run_id": queued.run_id, "place": queued.place, "held": queued.held}
    return reply(args, document, f"{queued_line(queued)}. {follow}")


def queued_line(queued: SubmitAnswer) -> str:
    return f"{queued.name} is queued, {'held' if queued.held else f'place {queued.place}'}"


def require_sound(recipes: Sequence[Recipe], home: Home, *, force: bool) -> list[str]:
    """Return why runs will fail, judged on the machine where they will run. Without `force` such runs are refused."""
    checker, troubles = ahead.RunChecker(home, SECONDS), []
    for recipe in recipes:
        if home.link is None:
            errors = [error for _, error in ahead.check_before_queue(recipe, checker).problems]
        else:
            errors = _problems_there(recipe, checker)
        if errors and not force:
            if len(errors) > 1:
                errors[0].hint = f"{errors[0].hint} (and {len(errors) - 1} more)".strip()
            raise errors[0]
        troubles += [f"{error.message} {error.hint}".strip() for error in errors]
    return list(dict.fromkeys(troubles))


def _problems_there(recipe: Recipe, checker: ahead.RunChecker) -> list[FinetopError]:
    """Return the problems found by the machine where the run will be: its data are there."""
    key = ahead.what_is_read(recipe)
    if key in checker.seen:
        return []
    checker.seen[key] = ahead.Ahead(None, ())
    try:
        answer = ask_once(checker.home, LookAhead(by_name(recipe_to_mapping(recipe)), row=False))
    except FinetopError as error:
        warn(f"not checked before queueing: {clean_line(str(error))}")
        return []
    shown = [msgspec.convert(finding, Shown) for finding in answer.findings]
    return [as_error(problem) for preview in shown[:1] for problem in preview.problems]


def queue(home: Home, ask: Request[Answer], forced: Sequence[str]) -> Answer:
    """Queue runs. Warn on standard error if they don't start now, and of those that were forced, how they will end."""
    with Client(home) as client:
        queued = client.ask(ask)
        warn_if_stopped(client)
    for trouble in forced:
        warn(f"queued anyway; the job will fail with: {clean_line(trouble)}")
    return queued


def warn_if_stopped(client: Client) -> None:
    """Warn on stderr if nothing starts now, or if the supervisor started with another FINETOP_CPU_RANKS."""
    if stopped := client.ask(Runs(limit=1)).stopped:
        warn(f"nothing starts: {clean_line(stopped)}.")
    if os.environ.get(ranks.CPU_RANKS) and (there := client.ask(Hello()).cpu_ranks) != ranks.without_gpu():
        here = f"{ranks.CPU_RANKS} is {ranks.without_gpu()} here"
        to_change = "To change it: finetop supervisor stop, and run again."
        warn(f"{here}, but the supervisor started with {there}, and uses that. {to_change}")


def run_sweep(
    args: argparse.Namespace,
    home: Home,
    sets: Sequence[str],
    priority: int,
    load: Callable[[Sequence[str]], Loaded],
) -> int:
    """Queue the runs of a sweep, named after the recipe or by --name."""
    axes = [sweeps.axis_of(text) for text in args.sweep]
    axes += [] if args.seeds is None else [sweeps.seeds_of(args.seeds)]
    if args.wait:
        raise BadInput("--wait follows one run, not a sweep.", hint="Leave it out; see finetop sweep.")
    base = load(sets)
    name, is_command = base.recipe.name, base.recipe.command is not None
    if is_command:  # {lr} in the command is lr on the command line
        axes = [axis if "." in axis.key else Axis(f"command.values.{axis.key}", axis.values) for axis in axes]

    def load_point(pairs: Sequence[Pair]) -> Loaded:
        seeds = [f"command.values.seed={value}" for key, value in pairs if is_command and key == sweeps.SEED]
        return load([*sets, *sweeps.as_sets(pairs), *seeds])

    points = sweeps.points(name, axes, load_point)
    require_outputs([point.loaded.recipe for point in points])
    resolved = [require_files(point.loaded, home) for point in points]
    if is_command and home.link is None:
        resolved = [with_environment(recipe) for recipe in resolved]
    runs = [submit.SweepRun(point.name, recipe) for point, recipe in zip(points, resolved, strict=True)]
    forced = (
        [] if is_command else require_sound([point.loaded.recipe for point in points], home, force=args.force)
    )
    queued = queue(home, SubmitSweep(name, runs, base.text, args.hold, priority), forced)
    if args.json:
        print_json({"sweep": queued.sweep, "runs": plain(queued.runs)})
        return 0
    print(*map(queued_line, queued.runs), sep="\n")
    print(f"{len(queued.runs)} runs in the sweep {queued.sweep}. Results: finetop sweep {queued.sweep}")
    return 0


def follow_run(args: argparse.Namespace, home: Home, name: str) -> int:
    """Follow a run to its verdict, and return its exit code."""
    last = until_over(home, name, (lambda new: None) if args.json else Progress())
    if args.json:
        print_json({"run": plain(last)})
    else:
        print(f"{last.name}: {state_words(last)}  {answer_words(last)}".rstrip())
        if isinstance(last.state, data.Finished) and last.state.cause:
            print(f"  {clean_line(last.state.cause)}")
        if hint := getattr(last.state, "hint", ""):
            print(hint)
    return exit_code(last)


def require_outputs(recipes: Sequence[Recipe]) -> None:
    """Require that no two commands of a sweep write their models to the same folder. Raises BadInput."""
    outputs = [commands.output_of(recipe.command) for recipe in recipes if recipe.command is not None]
    shared = next(
        (path for at, path in enumerate(outputs) if path is not None and path in outputs[:at]), None
    )
    if shared is not None:
        message = f"several runs of this sweep write their model to {clean_line(str(shared))}."
        raise BadInput(message, hint="Put what is swept into the folder's name: --output_dir out-{lr}.")


def run_chain(args: argparse.Namespace, home: Home, chain: Chain, priority: int) -> int:
    """Queue the runs of a chain; with --wait, follow them in order until one does not end well."""
    names = [stage.name for stage in chain.stages]
    start = names.index(args.first) if args.first in names else 0
    for stage in chain.stages[start:]:
        require_files(stage.loaded, home)
    stages = [submit.Stage(stage.name, portable_recipe(stage.loaded, home)) for stage in chain.stages]
    recipes = [on_its_base(stage.loaded.recipe, chain) for stage in chain.stages[start:]]
    forced = require_sound(recipes, home, force=args.force)
    queued = queue(home, SubmitChain(chain.name, stages, chain.text, args.first, args.hold, priority), forced)
    if not args.json:
        print(*map(queued_line, queued.runs), sep="\n")
    elif not args.wait:
        print_json({"runs": plain(queued.runs)})
    code = 0
    for run in queued.runs if args.wait else ():
        code = follow_run(args, home, run.name)
        if code == 1 and not isinstance(ask_once(home, GetRun(run.name)).row.state, data.Finished):
            break  # later stages wait for it
    return code


ABOUT = "queue a run of a recipe or of any training program, or the runs of a chain"
PLUGIN = Command(ABOUT, "run", run, arguments, takes_command=True)
