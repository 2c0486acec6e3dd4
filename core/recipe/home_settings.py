"""HOME/settings.yaml: settings for the whole home. Strict: an unknown setting is an error.

settings: 1
keep: {last: 3, best: 1, days: null, total_gib: null, merged_days: 30, scores_days: null, selected_days: 30,
       trash_days: 30}
hung: {after_s: 600, then: tell}
gpus: {share: true, reserve_gib: 1, only: null, after_memory_errors: leave_out}
slots: {cpu_jobs: 1}
retry: {times: 2, wait_s: 60, longest_s: 3600, not_after: []}
resume: {after_reboot: true, after_crash: true}
quiet_hours: {from: "22:00", to: "07:00", days: [mon, tue, wed, thu, fri], pause: false}
logs: {mib: 256}
slurm: {partition: gpu, account: lab, time: "24:00:00", qos: normal, at_once: 4, extra: ["--mem=64G"]}
tell: {on: [alarms, failed, lost, hung, regressed], command: [notify-me], webhook: {url_file: webhook.txt}}
bell: true
notify: none
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from finetop.core.errors import EnvironmentTrouble, RecipeError, did_you_mean
from finetop.core.protocol import notices
from finetop.core.protocol.notices import BY_DEFAULT
from finetop.core.runtime import secrets, webhook_url
from finetop.core.runtime.files import read_if_there

if TYPE_CHECKING:
    from finetop.core.recipe.strict_yaml import Node
    from finetop.core.runtime.home import Home

FILE = "settings.yaml"
Days = Annotated[float, Meta(ge=0, le=36_500)]


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `finetop clean` keeps; null keeps all. A run's newest and best checkpoints always stay."""

    last: Annotated[int, Meta(ge=1, le=10_000)] | None = 3  # newest checkpoints of each run
    best: Annotated[int, Meta(ge=1, le=10_000)] = 1  # also those with the lowest eval_loss
    days: Days | None = None  # delete checkpoints of runs that ended longer ago
    total_gib: Annotated[float, Meta(ge=0, le=1e6)] | None = None  # of all checkpoints: delete the oldest
    merged_days: Days | None = 30.0  # delete models merged for a run to begin from, if unused for so long
    scores_days: Days | None = None  # the same for item scores of models and indexes of documents
    datasets_days: Days | None = None  # the same for data sets of the hub
    selected_days: Days | None = 30.0  # the same for rows selected for a curve that no run uses any more
    trash_days: Days | None = 30.0


class Hung(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a silent job counts as hung, and what is done then."""

    # minimum; 20 of its usual steps if they take longer
    after_s: Annotated[float, Meta(ge=1, le=1e7)] = 600.0
    then: Literal["tell", "kill"] = "tell"  # a killed job has failed, and may be retried


class Gpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How jobs are placed on the GPUs of the supervisor's machine."""

    share: bool = True  # several jobs on one GPU if their memory fits; false: one job per GPU
    # left free on a GPU that a job shares with others
    reserve_gib: Annotated[float, Meta(ge=0, le=1024)] = 1.0
    # only these: indexes as in nvidia-smi, or UUIDs or their beginning
    only: tuple[Annotated[int, Meta(ge=0, le=1023)] | Annotated[str, Meta(min_length=4)], ...] | None = None
    # one that had uncorrectable memory errors since its driver was loaded: they end only the process that they hit
    after_memory_errors: Literal["leave_out", "use"] = "leave_out"


class Slots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many jobs run at a time if GPUs do not limit them."""

    cpu_jobs: Annotated[int, Meta(ge=1, le=1024)] = 1


# Kinds of failure that may pass by themselves (see Kind in core/errors.py).
Passing = Literal[
    "out_of_memory", "gpu_taken", "disk_full", "environment", "gpu_lost", "gpu_error", "communication", "hung"
]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often a failed job is retried automatically: never for an error in its recipe, data or numbers."""

    times: Annotated[int, Meta(ge=0, le=100)] = 2  # consecutive retries without a new checkpoint
    wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0  # before the first retry; then doubled each time …
    longest_s: Annotated[float, Meta(ge=0, le=604_800)] = 3600.0  # … up to this
    not_after: tuple[Passing, ...] = ()  # kinds of failure that are not retried


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether runs resume automatically from their newest checkpoint after an outside cause ended them."""

    after_reboot: bool = True
    after_crash: bool = True  # of its process: killed from outside, a crash in native code, vanished


def _text(pattern: str, words: str) -> Meta:
    """Limit a text to a pattern, which messages describe by these words."""
    return Meta(pattern=pattern, max_length=1000, extra={"words": words})


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ClockTime = Annotated[str, _text("^([01][0-9]|2[0-3]):[0-5][0-9]$", 'a time of day such as "22:00"')]


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """Hours of the day; those that end before they begin last past midnight."""

    start: ClockTime
    end: ClockTime
    days: tuple[Day, ...] = get_args(Day)  # on which they begin


class QuietHours(Hours, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """When nothing new starts, by this machine's clock."""

    pause: bool = False  # also pause training and checks, and resume them afterwards


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much disk a job's log may take; of a longer one the first quarter and the last half are kept."""

    mib: Annotated[int, Meta(ge=1, le=1 << 20)] | None = 256  # null: any number


_TIME = "^([0-9]{1,6}|([0-9]{1,4}-)?[0-9]{1,4}(:[0-5]?[0-9]){1,2})$"
_TIME_WORDS = 'a time limit such as "24:00:00" or "3-00:00:00" (days-hours:minutes:seconds)'
_OPTION_WORDS = 'an option of sbatch in one word such as "--mem=64G"'
SlurmName = Annotated[str, _text("^[A-Za-z0-9][A-Za-z0-9_.,+-]{0,199}$", "a name known to Slurm")]
SlurmTime = Annotated[str, _text(_TIME, _TIME_WORDS)]
SlurmOption = Annotated[str, _text("^--[a-z][a-z-]*(=[^\\n\\0]*)?\\Z", _OPTION_WORDS)]


class Slurm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How jobs are queued on a cluster: with this section they are, without it they run on this machine."""

    partition: SlurmName | None = None  # null: the cluster's default, also for the next three
    account: SlurmName | None = None
    time: SlurmTime | None = None  # of a job; one that reaches it is requeued, and resumes
    qos: SlurmName | None = None
    # concurrent runs of a sweep: its job array's limit; null: no limit
    at_once: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    extra: tuple[SlurmOption, ...] = ()  # more options of sbatch, after finetop's own


# The settings that are options of sbatch by the same name.
OF_SBATCH = tuple(name for name in Slurm.__struct_fields__ if name not in ("at_once", "extra"))

# Options that finetop passes to sbatch: if given twice, one would be lost. Two are other names of one option.
OF_FINETOP = frozenset(
    {
        "array", "comment", "job-name", "open-mode", "output", "error", "input", "parsable", "requeue", "no-requeue",
        "signal", "wrap", "wait", "chdir", "nodes", "ntasks", "ntasks-per-node", "tasks-per-node", "dependency",
        "export",
    }
)  # fmt: skip
QUEUES_NOTHING = frozenset({"help", "usage", "version", "autocomplete", "test-only"})

# sbatch reads its options with getopt_long, which takes any abbreviation that only one option begins with: --wra=… is
# --wrap=…. So options are looked up in the list of all of sbatch's own, and an abbreviation is none of them.
# Of Slurm 24.11, the hidden ones too: `sbatch --a`, `sbatch --b` … name them as what an abbreviation may mean.
NAMES = frozenset(
    {
        "account", "acctg-freq", "array", "autocomplete", "batch", "bb", "bbf", "begin", "chdir", "cluster",
        "cluster-constraint", "clusters", "comment", "constraint", "container", "container-id", "context",
        "contiguous", "core-spec", "cores-per-socket", "cpu-freq", "cpus-per-gpu", "cpus-per-task", "deadline",
        "delay-boot", "dependency", "distribution", "error", "exclude", "exclusive", "export", "export-file",
        "extra", "extra-node-info", "get-user-env", "gid", "gpu-bind", "gpu-freq", "gpus", "gpus-per-node",
        "gpus-per-socket", "gpus-per-task", "gres", "gres-flags", "help", "hint", "hold", "ignore-pbs", "input",
        "job-name", "kill-on-invalid-dep", "licenses", "mail-type", "mail-user", "mcs-label", "mem", "mem-bind",
        "mem-per-cpu", "mem-per-gpu", "mincpus", "network", "nice", "no-kill", "no-requeue", "nodefile",
        "nodelist", "nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node",
        "ntasks-per-socket", "ntasks-per-tres", "oom-kill-step", "open-mode", "output", "overcommit",
        "oversubscribe", "parsable", "partition", "power", "prefer", "priority", "profile", "propagate", "qos",
        "quiet", "reboot", "requeue", "reservation", "resv-ports", "segment", "signal", "sockets-per-node",
        "spread-job", "stepmgr", "switches", "tasks-per-node", "test-only", "thread-spec", "threads-per-core",
        "time", "time-min", "tmp", "tres-bind", "tres-per-task", "uid", "usage", "use-min-nodes", "verbose",
        "version", "wait", "wait-all-nodes", "wckey", "wrap",
    }
)  # fmt: skip

Word = Annotated[str, Meta(min_length=1, max_length=4096)]


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where messages are posted: exactly one of three. The address is a secret unless it is publicly known."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    # the address is its first line; readable by its owner only
    url_file: Annotated[Word | None, Meta(extra={"path": "file"})] = None
    # an environment variable of the supervisor
    url_env: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,199}$")] | None = None
    # use the proxy of the supervisor's environment (https_proxy); never for this machine or its network
    proxy: bool = False


class Tell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which events are sent to a person, and how."""

    # kinds in finetop.core.protocol.notices; `alarms` is all alarms, `all` is everything
    on: tuple[str, ...] = BY_DEFAULT
    command: tuple[Word, ...] | None = None  # a program and its arguments; the message is its standard input
    webhook: Webhook | None = None
    # a run's alarms of one kind within this time are sent as one
    every_s: Annotated[float, Meta(ge=0, le=604_800)] = 300.0
    # after which a hanging command or webhook is ended
    limit_s: Annotated[float, Meta(ge=1, le=600)] = 20.0
    quiet: Hours | None = None  # nothing is sent then; it is sent afterwards


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    settings: Literal[1] = 1
    keep: Keep = Keep()
    hung: Hung = Hung()
    gpus: Gpus = Gpus()
    slots: Slots = Slots()
    retry: Retry = Retry()
    resume: Resume = Resume()
    quiet_hours: QuietHours | None = None
    logs: Logs = Logs()
    slurm: Slurm | None = None
    tell: Tell = Tell()
    bell: bool = True  # the terminal's bell on events while the app is open; at most one in 10 s
    notify: Literal["none", "osc9", "osc777"] = "none"  # the terminal's notifications, by that sequence


BEGIN = "`settings: 1`"


def load(home: Home) -> Settings:
    """Read a home's settings; the defaults if there is no file. Raises RecipeError, EnvironmentTrouble."""
    from finetop.core.recipe.strict_yaml import MAX_BYTES, Origin, parse
    from finetop.core.recipe.validate import read_as

    file = home.root / FILE
    try:
        content = read_if_there(file, MAX_BYTES)
        if content is None:
            return Settings()
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecipeError("is not UTF-8 text.", place=str(file)) from error
    except OSError as error:  # a folder, a pipe, a dangling link
        hint = "Put a file in its place, or remove it to use the defaults."
        raise EnvironmentTrouble(f"{file} can't be read: {error.strerror}.", hint=hint) from error
    root = parse(text, Origin(str(file), home.root), least=f"Begin with {BEGIN}, or remove the file.")
    if not isinstance(root.value, dict) or "settings" not in root.value:
        raise RecipeError("no version.", place=root.place, hint=f"Begin with {BEGIN}.")
    settings = read_as(root, Settings, "the settings")
    _require_tell(root, settings.tell)
    if settings.slurm is not None:
        for index, option in enumerate(settings.slurm.extra):
            _require_option(option, _place(root, "slurm", "extra", index))
    return settings


def _require_tell(root: Node, tell: Tell) -> None:
    """Refuse unknown kinds, and secrets that must not be in a settings file. Raises RecipeError."""
    known = (*notices.kinds(), "alarms", "all")
    for index, kind in enumerate(tell.on):
        if kind not in known:
            hint = did_you_mean(kind[:60], known)
            place = _place(root, "tell", "on", index)
            raise RecipeError(f"tell.on: there is no kind {kind[:60]!r}.", place=place, hint=hint)
    if tell.command == ():
        message = "tell.command is []; it must be a program and its arguments."
        raise RecipeError(message, place=_place(root, "tell", "command"))
    if tell.command is not None and (what := secrets.describe_secret("\n".join(tell.command))):
        message = f"tell.command holds {what}, and every user of this machine can read a command line."
        hint = "Have the program read it from a file that only you can read."
        raise RecipeError(message, place=_place(root, "tell", "command"), hint=hint)
    if tell.webhook is not None:
        _require_webhook(tell.webhook, _place(root, "tell", "webhook"))


def _require_webhook(webhook: Webhook, place: str) -> None:
    if (webhook.url is not None) + (webhook.url_file is not None) + (webhook.url_env is not None) != 1:
        message = "tell.webhook needs exactly one of url, url_file and url_env."
        raise RecipeError(message, place=place, hint="Usually url_file: webhook.txt.")
    if webhook.url is None:
        return
    if not webhook_url.is_fine(webhook.url):
        message = "tell.webhook.url must begin with https://, or with http://localhost."
        raise RecipeError(message, place=place)
    if webhook_url.holds_secret(webhook.url) or secrets.describe_secret(webhook.url):
        why = "looks like it contains a secret: anyone who reads it could post there too."
        hint = "Put it into a file that only you can read (chmod 600): webhook: {url_file: webhook.txt}."
        raise RecipeError(f"tell.webhook.url {why}", place=place, hint=hint)


def _require_option(option: str, place: str) -> None:
    """Refuse an option that finetop sets, an abbreviation, or a secret. Raises RecipeError."""
    name = option[2:].partition("=")[0]
    if name in OF_SBATCH:
        said = f"slurm.extra: {option[:60]!r} has a setting of its own."
        raise RecipeError(said, place=place, hint=f"Set slurm.{name}.")
    if name in OF_FINETOP:
        raise RecipeError(f"slurm.extra: finetop sets --{name} itself.", place=place, hint="Leave it out.")
    if name in QUEUES_NOTHING:
        said = f"slurm.extra: with --{name} sbatch queues nothing."
        raise RecipeError(said, place=place, hint="Leave it out.")
    if name not in NAMES and (meant := sorted(known for known in NAMES if known.startswith(name))):
        said = f"slurm.extra: --{name} is an abbreviation of --{', --'.join(meant[:3])}{' …' * (len(meant) > 3)}."
        raise RecipeError(said, place=place, hint="Write the whole name.")
    if what := secrets.describe_secret(option):
        said = f"slurm.extra holds {what}, and every user of the cluster can read the options of a job."
        raise RecipeError(said, place=place, hint="Have the job read it from a file that only you can read.")


def _place(root: Node, *keys: str | int) -> str:
    """Return the place of a setting that was read, or of the nearest node around it."""
    for key in keys:
        value = root.value
        if isinstance(value, dict) and key in value:
            root = value[str(key)]
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            root = value[key]
    return root.place
