"""Which options of sbatch settings.yaml may hold (slurm.extra), and which finetop gives itself.

sbatch reads its options with getopt_long, which takes any abbreviation that only one option begins with: --wra=… is
--wrap=…. So options are looked up in the list of all of sbatch's own, and an abbreviation is none of them.
"""

from __future__ import annotations

from finetop.core.errors import RecipeError
from finetop.core.runtime import secrets

# What finetop itself says to sbatch: said twice, one of them would not hold. Two are other names of one option.
OF_FINETOP = frozenset(
    {
        "array", "comment", "job-name", "open-mode", "output", "error", "input", "parsable", "requeue", "no-requeue",
        "signal", "wrap", "wait", "chdir", "nodes", "ntasks", "ntasks-per-node", "tasks-per-node", "dependency",
        "export",
    }
)  # fmt: skip
OF_SECTION = frozenset({"partition", "account", "time", "qos"})
QUEUES_NOTHING = frozenset({"help", "usage", "version", "autocomplete", "test-only"})

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


def require(option: str, place: str) -> None:
    """Refuse an option that finetop gives itself, an abbreviation, or a secret: all users can read a job's options.

    Raises RecipeError.
    """
    name = option[2:].partition("=")[0]
    if name in OF_SECTION:
        said = f"slurm.extra: {option[:60]!r} has a setting of its own."
        raise RecipeError(said, place=place, hint=f"Set slurm.{name}.")
    if name in OF_FINETOP:
        raise RecipeError(f"slurm.extra: finetop gives --{name} itself.", place=place, hint="Leave it out.")
    if name in QUEUES_NOTHING:
        raise RecipeError(
            f"slurm.extra: with --{name} sbatch queues nothing.", place=place, hint="Leave it out."
        )
    if name not in NAMES and (meant := sorted(known for known in NAMES if known.startswith(name))):
        said = f"slurm.extra: --{name} is an abbreviation of --{', --'.join(meant[:3])}{' …' * (len(meant) > 3)}."
        raise RecipeError(said, place=place, hint="Write the whole name.")
    if what := secrets.find(option):
        said = f"slurm.extra holds {what}, and every user of the cluster can read a job's options."
        raise RecipeError(said, place=place, hint="Let the job read it from a file that is yours alone.")
