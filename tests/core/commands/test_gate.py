"""A gate's story: weights are checked, changed in place, and checked again; each verdict is of the weights it names.

Changed in place: the same size, the same names, at once, and the modification time set back.
"""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy
import pytest
from drawn import drawn
from gguf import GGUFReader
from made_elsewhere import save_adapter
from safetensors.numpy import load_file, save_file

from finetop.core.protocol.messages.runs import GetRun

SLOW = pytest.mark.slow  # each checks twice, with the real scorer
LLAMA_CPP = pytest.mark.skipif(
    find_spec("llama_cpp_py_sync") is None, reason="llama.cpp is not installed: finetop[gguf]"
)
COPY = "import shutil, sys\nshutil.copytree(sys.argv[1], 'out')\nprint('step 1 loss 1.0')\n"


@pytest.fixture
def finetop(station, finetop_of, suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return finetop_of(station.home)


def whole(base, folder):
    shutil.copytree(base, folder)


def adapter(base, folder):
    save_adapter(base, folder, 0.0)


def change(folder):
    """Change a model's weights in place, without a trace in the size and the modification time of its file."""
    (file,) = folder.resolve().glob("*.safetensors") if folder.is_dir() else [folder]
    before, noise = file.stat(), numpy.random.default_rng(7)
    if folder.is_dir():
        weights = load_file(file)
        for name, values in weights.items():
            weights[name] = (values + noise.normal(size=values.shape)).astype(values.dtype)
        save_file(weights, file, metadata={"format": "pt"})
    else:
        for tensor in GGUFReader(file, "r+").tensors:
            tensor.data[:] = tensor.data + noise.normal(size=tensor.data.shape)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def by_path(rig, finetop, base, make, name):
    make(base, folder := Path.cwd() / "model")
    return folder, ("--model", "model", "--base", str(base), "--name", name)


def of_import(rig, finetop, base, make, name):
    make(base, folder := Path.cwd() / "model")
    code, _, err = finetop("import", str(folder), "--base", str(base), "--name", name)
    assert code == 0, err
    return folder, (name,)


def of_merged(rig, finetop, base, make, name):
    return _exported(finetop, base, make, name, "merged")


def of_gguf(rig, finetop, base, make, name):
    folder, which = _exported(finetop, base, make, name, "gguf", "--quant", "f32", "--no-check")
    (file,) = folder.glob("*.gguf")
    return file, ("--model", str(file), *which[2:])


def _exported(finetop, base, make, name, to, *options):
    of_import(None, finetop, base, make, source := f"{name}-source")
    code, _, err = finetop("export", source, "--to", f"./{to}", *options)
    assert code == 0, err
    return Path(to), ("--model", to, "--base", str(base), "--name", name)


def of_command(rig, finetop, base, make, name):
    make(base, source := Path.cwd() / "source")
    return _command(rig, finetop, base, source, name)


def of_command_with_gguf(rig, finetop, base, make, name):
    folder, _ = _exported(finetop, base, make, f"{name}-file", "gguf", "--quant", "f32", "--no-check")
    out, which = _command(rig, finetop, base, folder, name)
    (file,) = out.glob("*.gguf")
    return file, which


def _command(rig, finetop, base, source, name):
    Path("copy.py").write_text(COPY)
    options = ("--output", "out", "--base", str(base), "--name", name, "--set", "check.at_end=false")
    code, _, err = finetop("run", *options, "--json", "--", sys.executable, "copy.py", str(source))
    assert code == 0, err
    rig.wait_state(name, "finished")
    return Path("out"), (name,)


def checked(finetop, which, *options):
    """Check; return the document, what was said, and the exit code."""
    code, out, err = finetop("check", *which, "--suite", "./mini.yaml", *options, "--json")
    assert out, err
    return json.loads(out), err, code


PLACES = [(by_path, whole), (by_path, adapter), (of_import, whole), (of_import, adapter), (of_command, whole)]
PLACES += [(of_merged, adapter)]
IN_GGUF = [(of_gguf, adapter), (of_command_with_gguf, adapter)]


@pytest.mark.parametrize(
    ("place", "make"),
    [*drawn(PLACES, 2, marks=[SLOW]), *drawn(IN_GGUF, 1, marks=[SLOW, LLAMA_CPP])],
    ids=lambda function: function.__name__,
)
def test_a_verdict_is_of_the_weights_that_were_checked(station, finetop, tiny_model, place, make):
    name = f"{place.__name__.replace('_', '-')}-{make.__name__}"
    folder, which = place(station, finetop, tiny_model, make, name)
    first, _, _ = checked(finetop, which)
    jobs = len(station.ask(GetRun(name)).jobs)
    again, said, _ = checked(finetop, which)
    assert (again["new"], again["check"]["check_id"]) == (False, first["check"]["check_id"])
    assert len(station.ask(GetRun(name)).jobs) == jobs, "nothing was queued for weights that did not change"
    assert "changed since" not in said

    change(folder)
    code, out, _ = finetop("check", name, "--last")
    assert code == 3 and "The weights changed since this check" in out
    assert "; weights rewritten since" in finetop("show", name)[1]
    assert (
        finetop("triage", name)[1].splitlines()[1].startswith(f"the weights of {name} were rewritten since")
    )
    assert finetop("flips", name)[1].startswith(f"the weights of {name} were rewritten since")
    code, _, err = finetop("remedy", name)
    if "gguf" not in place.__name__:
        assert code == 2 and f"the weights of {name}@" in err and "changed since they were checked" in err
    code, out, err = finetop("export", name, "--to", str(Path.cwd() / "exported"))
    if "gguf" in place.__name__:
        assert code == 2 and f"{name} is a GGUF file, which llama.cpp alone reads." in err
    else:
        assert out.startswith(f"warning: the weights of {name}@") and "changed since they were checked" in out
    second, said, _ = checked(finetop, which)
    assert f"the weights of {name} changed since its last check" in said
    tuned = [document["check"]["models"]["tuned"] for document in (first, second)]
    assert tuned[0] != tuned[1]
    assert (first["check"]["drop"], second["new"]) == (0.0, True)
    assert second["check"]["lost"] + second["check"]["won"] > 0
    assert checked(finetop, which)[0]["check"]["check_id"] == second["check"]["check_id"]
    assert finetop("show", name)[1].count("; weights changed since") == 1, "of the first check alone"
