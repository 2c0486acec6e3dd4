"""The wheel holds exactly what the tree holds: the hand-kept list of packages is complete."""

import zipfile

import pytest
from light import PACKAGES, ROOT, build_wheel

DATA = {".py", ".yaml", ".json", ".jsonl", ".jinja", ".sql", ".tcss", ".txt", ".typed"}


@pytest.mark.slow
def test_wheel_and_tree_hold_the_same_files(tmp_path):
    wheel = build_wheel(tmp_path)
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    script = "finetop/core/external/script/__init__.py"  # installed as the top of the package
    tree = {
        f"finetop/{file.relative_to(ROOT)}"
        for top in PACKAGES
        for file in (ROOT / top).rglob("*")
        if file.suffix in DATA and "__pycache__" not in file.parts
    }
    assert script in tree
    tree = {"finetop/__init__.py" if name == script else name for name in tree}
    assert names == tree
