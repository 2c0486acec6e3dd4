"""settings.yaml: strict, one line per error."""

import os
import re
import shutil
import subprocess

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.home_settings import NAMES, OF_FINETOP, OF_SBATCH, QUEUES_NOTHING, Settings, load
from finetop.core.runtime.home import Home


def settings_of(folder, text):
    (folder / "settings.yaml").write_text(text)
    return load(Home(folder))


def test_without_the_file_the_defaults_hold_and_what_is_set_is_read(tmp_path):
    assert load(Home(tmp_path)) == Settings()
    keep = settings_of(tmp_path, "settings: 1\nkeep: {last: 7, days: null, total_gib: 20.5}\n").keep
    assert (keep.last, keep.days, keep.total_gib) == (7, None, 20.5)
    text = "settings: 1\ntell: {on: [all], command: [notify-send, finetop], webhook: {url_file: hook.txt}}\n"
    tell = settings_of(tmp_path, text).tell
    assert tell.command == ("notify-send", "finetop")
    assert tell.webhook is not None and tell.webhook.url_file == str(tmp_path / "hook.txt")
    address = "https://ntfy.example.org/lab"
    webhook = settings_of(tmp_path, f"settings: 1\ntell: {{webhook: {{url: '{address}'}}}}\n").tell.webhook
    assert webhook is not None and webhook.url == address


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "settings: 1\nkeep: {lasst: 3}\n": r"settings.yaml:2: .*Did you mean last\?",
        "settings: 1\nkeep: {last: 0}\n": r"settings.yaml:2: keep.last is 0",
        "": r"settings.yaml:1: is empty\. Begin with `settings: 1`, or remove the file\.$",
        "# later\n": r"settings.yaml:1: is empty\. Begin with `settings: 1`, or remove the file\.$",
        "settings: 1\nslurm: {partiton: gpu}\n": r"settings.yaml:2: .*Did you mean partition\?",
        "settings: 1\nslurm: {partition: 'a b'}\n": r"settings.yaml:2: slurm.partition is 'a b'.*a name known to Slurm",
        "settings: 1\nslurm: {time: soon}\n": r"settings.yaml:2: slurm.time is 'soon'.*a time limit such as",
        "settings: 1\nslurm: {extra: [--mem 8G]}\n": r"settings.yaml:2: slurm.extra.*an option of sbatch in one word",
        "settings: 1\nslurm: {extra: [--qos=x]}\n": r"settings.yaml:2: slurm.extra: .*Set slurm.qos",
        "settings: 1\nslurm: {extra: [--array=1-9]}\n": r"settings.yaml:2: .*finetop sets --array itself",
        "settings: 1\nkeep: {last: soon}\n": r"settings.yaml:2: keep.last is 'soon'",
        "settings: 2\n": r"settings.yaml:1: settings is 2",
        "keep: {last: 3}\n": r"Begin with `settings: 1`",
        "- 1\n": r"Begin with `settings: 1`",
        "settings: 1\nkeep: !!python/object/apply:os.system [ls]\n": r"settings.yaml:2",
        "settings: 1\nsettings: 1\n": r"settings.yaml:2",
        "settings: 1\nkeep: {days: .nan}\n": r"settings.yaml:2",
    }.items(),
)
def test_a_fault_is_one_line_with_place_value_and_fix(tmp_path, text, says):
    with pytest.raises(BadInput, match=says) as caught:
        settings_of(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "tell: {on: [spik]}": "settings.yaml:2: tell.on: there is no kind 'spik'. Did you mean spike?",
        "tell: {webhook: {}}": "settings.yaml:2: tell.webhook needs exactly one of url, url_file and url_env.",
        "tell:\n  webhook: {url: 'http://example.org/x'}": "settings.yaml:3: tell.webhook.url must begin with https://, or with http://localhost.",  # noqa: E501
        "tell: {webhook: {url: 'file:///etc/passwd'}}": "settings.yaml:2: tell.webhook.url must begin with https://",
        "tell: {webhook: {url: 'https://a b/x'}}": "settings.yaml:2: tell.webhook.url must begin with https://",
        "tell: {webhook: {url: 'https://hooks.example.org/services/T0/B0/abcdefghijklmnop'}}": "settings.yaml:2: tell.webhook.url looks like it contains a secret",  # noqa: E501
        "tell: {webhook: {url: 'https://ana:pass@example.org/'}}": "settings.yaml:2: tell.webhook.url looks like",
        "tell: {webhook: {url: 'https://example.org/x?token=1'}}": "settings.yaml:2: tell.webhook.url looks like",
        "tell: {command: [curl, -H, 'Authorization: Bearer sk-abcdefghijklmnopqrstuv']}": "settings.yaml:2: tell.command holds what looks like an API key",  # noqa: E501
        "tell: {command: []}": "settings.yaml:2: tell.command is []",
        "tell: {command: notify}": "settings.yaml:2: tell.command is 'notify'",
        "notify: beep": "settings.yaml:2: notify is 'beep'; it must be one of none, osc9, osc777.",
    }.items(),
)
def test_who_is_told_is_read_strictly_and_no_secret_stands_in_the_file(tmp_path, text, says):
    with pytest.raises(BadInput) as caught:
        settings_of(tmp_path, f"settings: 1\n{text}\n")
    assert says in str(caught.value)
    assert "abcdefghijklmnop" not in str(caught.value) and "pass@" not in str(caught.value)


REFUSED = OF_FINETOP | set(OF_SBATCH) | QUEUES_NOTHING


def refusal(folder, option):
    try:
        settings_of(folder, f"settings: 1\nslurm:\n  extra:\n    - '{option}'\n")
    except BadInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "option",
    [
        *("--wra=id", "--outpu=/x", "--job-nam=x", "--comm=x", "--arra=1-9"),
        *("--depend=afterok:1", "--no-requeu"),
        *("--parsabl", "--pars", "--inp=/x", "--open-m=truncate", "--time-m=1", "--mem-per-g=1G", "--a"),
        *("--n=2", "--tim=5", "--nta=2", "--e", "--q=x"),  # sbatch calls these ambiguous
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
    assert settings_of(tmp_path, f"settings: 1\nslurm:\n  extra:\n{lines}\n").slurm.extra == tuple(
        f"--{name}=1" for name in extra
    )


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="sbatch is not installed")
def test_sbatch_here_has_no_option_that_an_abbreviation_could_hide_behind(tmp_path):
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=localhost\n")
    environment = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    letters = [["--help"], *([f"--{letter}"] for letter in "abcdefghijklmnopqrstuvwxyz")]
    quiet = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "check": False}
    said = [subprocess.run(["sbatch", *words], env=environment, **quiet) for words in letters]
    named = set(re.findall(r"--([a-z]{2}[a-z-]*)", "".join(one.stdout + one.stderr for one in said)))
    assert len(named) > 90
    assert named <= NAMES | {"open-mode"}
