"""What many tests need: a home with the real supervisor on fake jobs, and a tiny model made on the spot."""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from finetop.core.runtime import job_process

if TYPE_CHECKING:  # fixtures import what they need: tests of a GPU also run where there is no database
    from cluster import Cluster
    from hosts import Hosts
    from rig import Rig
    from still import Still

# Before torch is imported: threads of two workers and their jobs would wait for each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup a terminal's programs would not hear it either
os.environ.setdefault("FINETOP_SPARE", "0")  # no supervisor of a test keeps a training process waiting

TEXTS = [
    "What opens at nine? The shop opens at nine, and closes at six.",
    "Can you mend my radio? Yes, we mend radios, lamps and clocks.",
    "Where are you? We are behind the station, in the old mill.",
    "The quick brown fox jumps over the lazy dog 0123456789.",
]
TEMPLATE = (
    "{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
)


UNTIL = "FINETOP_TEST_UNTIL"  # when no further test is begun
PRETENDED: pytest.StashKey[tempfile.TemporaryDirectory[str]] = pytest.StashKey()  # its native half
WARM_PROGRAM: pytest.StashKey[str] = pytest.StashKey()
WARM: pytest.StashKey[tempfile.TemporaryDirectory[str]] = (
    pytest.StashKey()
)  # the Python that workers are forks of
# More than a test's own waits (waiting.py), which tell what never came. A slow test may say less or more by its mark.
TEST_LIMIT_S, SLOW_TEST_LIMIT_S = 900.0, float(os.environ.get("FINETOP_TEST_LIMIT_S", "1800"))
END_S = 120.0  # after its limit, for a test that is not to be interrupted: its whole process ends, with all stacks
modules = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pretended-gpu",
        action="store_true",
        help="tests marked gpu run on a GPU that is none; those that need its memory, kernels or driver skip",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Set what must be set before torch is imported: as a job has it, so that peaks are those of a job's allocator."""
    job_process.set_environment()
    os.environ.setdefault("FINETOP_TEST_DAY", time.strftime("%F"))  # also for a run that passes midnight
    record = os.environ.pop("FINETOP_TEST_RECORD", "")  # not for a pytest that a test starts
    if record and not hasattr(config, "workerinput"):
        from outcome_record import OutcomeRecord

        config.pluginmanager.register(OutcomeRecord(Path(record)))
    if durations := os.environ.get("FINETOP_TEST_DURATIONS"):
        from durations import Durations

        config.pluginmanager.register(Durations(Path(durations)))
        if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
            del os.environ["FINETOP_TEST_DURATIONS"]  # nor that
    if limit_s := os.environ.pop("FINETOP_TEST_SECONDS", ""):
        os.environ[UNTIL] = str(time.time() + float(limit_s))  # for the workers too
    if config.getoption("--pretended-gpu"):
        import pretended_guard

        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "GPU-0")
        if pretended_guard.LIBRARY not in os.environ:
            folder = config.stash.setdefault(PRETENDED, tempfile.TemporaryDirectory())
            os.environ[pretended_guard.LIBRARY] = str(pretended_guard.build(Path(folder.name)))
        import pretended_gpu

        pretended_gpu.install()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Fork the workers from one process that has imported the training stack.

    Not those of one file: most need no such process, and would wait for its imports, a minute and more on a busy
    machine. It begins when a job of theirs asks for it.
    """
    if config.getoption("--pretended-gpu"):  # whose processes begin otherwise
        return
    import warm_python

    folder = config.stash.setdefault(WARM, tempfile.TemporaryDirectory())
    program = warm_python.begin(Path(folder.name) / "warm", os.getpid())
    config.stash[WARM_PROGRAM] = str(program)
    files = {arg.partition("::")[0] for arg in config.args}
    if len(files) == 1 and Path(*files).is_file():
        return
    for spec in specs:
        spec.python = str(program)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    if (program := node.config.stash.get(WARM_PROGRAM, None)) is not None:
        node.workerinput["warm"] = program


def limit_of(item: pytest.Item) -> float:
    """Return how many seconds a test may take, with its fixtures."""
    mark = item.get_closest_marker("timeout")
    if mark is not None:
        return float(mark.args[0])
    is_long = item.path.parent.name == "faults" or any(map(item.get_closest_marker, ("slow", "nightly")))
    return SLOW_TEST_LIMIT_S if is_long else TEST_LIMIT_S


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process of a test that hangs beyond its limit: under xdist that test fails, and the rest goes on."""
    faulthandler.dump_traceback_later(
        limit_of(item) + END_S, exit=True, file=item.config.stash[fault_handler_stderr_fd_key]
    )
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its limit, at which it fails by name, also while its event loop waits."""
    if config.pluginmanager.hasplugin("timeout"):  # a GPU's machine may lack it
        for item in items:
            item.add_marker(pytest.mark.timeout(limit_of(item), method="signal"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what comes too late for `make quick`, and what needs a GPU where there is none, or not what the mark says.

    gpu(needs="kernels"): the pretended GPU has none; gpu(packages=("trl",)): a machine with a GPU may lack them.
    """
    if time.time() > float(os.environ.get(UNTIL, "inf")):
        pytest.skip("its turn never came: make test runs it")
    mark = item.get_closest_marker("gpu")
    if mark is None:
        return
    import card

    if why := card.why_none():
        pytest.skip(why)
    if lacks := [name for name in mark.kwargs.get("packages", ()) if find_spec(name) is None]:
        pytest.skip(f"{' and '.join(lacks)} not installed")
    needs = mark.kwargs.get("needs")
    if needs and item.config.getoption("--pretended-gpu"):
        pytest.skip(f"the pretended GPU has no {needs}")


def pytest_collection() -> None:
    """Look for no garbage while tests are imported, and never in what they import: that was half of all CPU time."""
    gc.disable()


def pytest_collection_finish() -> None:
    keep_imports()
    gc.enable()


def pytest_runtest_teardown() -> None:
    if len(sys.modules) > modules + 50:
        gc.collect()
        keep_imports()


def keep_imports() -> None:
    global modules
    modules = len(sys.modules)
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a byte-level tokenizer and a chat template, saved as safetensors.

    All workers share it: a worker whose tests only name it imports no torch for it.
    """
    with shared_by_workers(tmp_path_factory, "tiny") as (folder, is_first):
        if is_first:
            build_tiny_model(folder / "model")
    return folder / "model"


@contextmanager
def shared_by_workers(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """Yield a folder that all workers share, and whether this is the first to make it; the others wait until it has."""
    place = factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / f"{name}.made"
        yield place / name, not made.exists()
        made.touch()


@pytest.fixture(scope="session")
def warm_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python whose jobs and rehearsals are forks of a process that has imported the training stack."""
    import warm_python

    if hasattr(request.config, "workerinput"):
        return str(request.config.workerinput.get("warm", sys.executable))
    if request.config.getoption("--pretended-gpu"):  # whose processes begin otherwise
        return sys.executable
    return str(warm_python.begin(tmp_path_factory.mktemp("warm") / "python", os.getpid()))


@pytest.fixture
def warm(warm_program: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start jobs and rehearsals of this process, and of its rig, by that Python."""
    monkeypatch.setattr(sys, "executable", warm_program)
    monkeypatch.setenv("FINETOP_TEST_PYTHON", warm_program)
    return warm_program


@pytest.fixture(scope="session")
def untied_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as vLLM's kernels for a CPU take it: wider heads, loud weights, a head that is no embedding."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("untied") / "model"
    build_tiny_model(folder, width=128, tied=False)
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def build_tiny_model(folder: Path, *, width: int = 64, tied: bool = True) -> None:
    """Save a model with random weights from a fixed seed: 64 wide, 2 layers, about 150,000 parameters."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    trained.train_from_iterator(
        TEXTS, vocab_size=400, min_frequency=1, special_tokens=special, show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, eos_token="<|end|>", pad_token="<|pad|>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=tied,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture
def cold_rig(tmp_path: Path) -> Iterator[Rig]:
    from rig import Rig

    from finetop.core.runtime.home import Home

    made = Rig(Home(tmp_path / "home"))
    yield made
    made.stop_all()


@pytest.fixture
def rig(cold_rig: Rig) -> Rig:
    cold_rig.up()
    return cold_rig


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Other machines, reached through a stand-in for ssh that this process finds first; shared by a file's tests."""
    from hosts import Hosts

    made = Hosts(tmp_path_factory.mktemp("network"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.install().items():
            patch.setenv(name, value)
        yield made
        made.close()


@pytest.fixture
def hosts(network: Hosts) -> Hosts:
    """The same, as if new: every host behaves well, and no ssh was started yet."""
    network.forget()
    return network


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Still]:
    """A home whose supervisor is in the test's own process: nothing starts by itself."""
    from still import still

    made = still(tmp_path / "home")
    yield made
    made.supervisor.connection.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm cluster on this machine, shared by a file's tests; skips, saying so, where none can be had."""
    from cluster import started

    made = started(tmp_path_factory.mktemp("slurm"))
    yield made
    made.down()


@pytest.fixture
def slurm_rig(cluster: Cluster, cold_rig: Rig) -> Iterator[Rig]:
    """A home whose jobs go to that cluster, with nothing in its queue; no supervisor runs yet."""
    from rig import IN_SLURM

    cluster.clear()
    cold_rig.settings = IN_SLURM
    cold_rig.variables = cluster.variables
    yield cold_rig
    cluster.clear()
