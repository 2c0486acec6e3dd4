"""Options of sbatch that settings.yaml may hold: none of finetop's own, not in an abbreviation either."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.home_settings import load
from finetop.core.recipe.sbatch_options import NAMES, OF_FINETOP, OF_SECTION, QUEUES_NOTHING
from finetop.core.runtime.home import Home

REFUSED = OF_FINETOP | OF_SECTION | QUEUES_NOTHING


def refusal(folder, option):
    (folder / "settings.yaml").write_text(f"settings: 1\nslurm:\n  extra:\n    - '{option}'\n")
    try:
        load(Home(folder))
    except BadInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "option",
    [
        *(
            "--wra=id",
            "--outpu=/x",
            "--job-nam=x",
            "--comm=x",
            "--arra=1-9",
            "--depend=afterok:1",
            "--no-requeu",
        ),
        *("--parsabl", "--pars", "--inp=/x", "--open-m=truncate", "--time-m=1", "--mem-per-g=1G", "--a"),
        *("--n=2", "--tim=5", "--nta=2", "--e", "--q=x"),  # which sbatch itself calls ambiguous
    ],
)
def test_an_abbreviation_is_refused_with_what_it_may_mean(tmp_path, option):
    name = option[2:].partition("=")[0]
    said = refusal(tmp_path, option)
    assert re.search(rf"settings.yaml:4: slurm.extra: --{name} is an abbreviation of --{name}[a-z-]+", said)
    assert said.endswith("Write the whole name.")


@pytest.mark.parametrize(
    "option", ["-o", "-ofoo", "-J name", "-J", "-wx", "--", "---wrap=x", "wrap=x", "--wrap x"]
)
def test_short_options_and_two_words_are_refused(tmp_path, option):
    assert "an option of sbatch in one word" in refusal(tmp_path, option)


@pytest.mark.parametrize("option", sorted(REFUSED))
def test_no_beginning_of_an_option_that_finetop_gives_itself_gets_through(tmp_path, option):
    for end in range(1, len(option) + 1):
        begun = option[:end].rstrip("-")
        is_another = begun in NAMES - REFUSED
        assert bool(refusal(tmp_path, f"--{begun}=x")) is not is_another, begun


def test_all_others_get_through_and_so_does_what_only_another_slurm_knows(tmp_path):
    extra = [*sorted(NAMES - REFUSED), "spank-own", "mem-of-tomorrow"]
    lines = "\n".join(f"    - '--{name}=1'" for name in extra)
    (tmp_path / "settings.yaml").write_text(f"settings: 1\nslurm:\n  extra:\n{lines}\n")
    assert load(Home(tmp_path)).slurm.extra == tuple(f"--{name}=1" for name in extra)


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="sbatch is not installed")
def test_sbatch_here_has_no_option_that_an_abbreviation_could_hide_behind(tmp_path):
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=localhost\n")
    environment = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    letters = [["--help"], *([f"--{letter}"] for letter in "abcdefghijklmnopqrstuvwxyz")]
    said = [
        subprocess.run(
            ["sbatch", *words],
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        for words in letters
    ]
    named = set(re.findall(r"--([a-z]{2}[a-z-]*)", "".join(one.stdout + one.stderr for one in said)))
    assert len(named) > 90
    assert named <= NAMES | {"open-mode"}
