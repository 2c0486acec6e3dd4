"""README and docs are true: commands run, links lead somewhere, the tree is the tree, recipes and settings load."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from rig import SEVERAL, Rig
from sample_logs import choice_row, write_log

        loaded = home_settings.load(Home(tmp_path))
        assert (loaded.quiet_hours is not None) == ("quiet_hours" in text)


def test_the_mistake_reads_as_shown(tmp_path, monkeypatch, capsys):
    shown = re.search(r"```text\n(finetop: .*?)\n```", README, re.DOTALL)[1]
    (tmp_path / "support-tone.yaml").write_text(
        "recipe: 1\nname: support-tone\nextends: lora\nmethod:\n  rnk: 8\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "support-tone.yaml"]) == 2
    assert capsys.readouterr().err.strip() == shown
