"""Runs of finetop on the pretended GPU, one after another in one process: trained, resumed, checked.

    python pretended_runs.py HOME MODEL [NAME …]

HOME is an empty folder, MODEL a small model's. Prints a JSON line for each run; the jobs' own output goes to their
log.txt. The names are those of `cases`; without any, all run.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 2
TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. "
SUITE = """\
suite: 1
name: tiny
about: a few questions, chosen and written
text: general.txt
tasks:
  - name: shop
    data: items.jsonl
    chance: 0.0
    metric: acc
    lm_eval: {output_type: multiple_choice, doc_to_text: "{{question}}", doc_to_target: gold, doc_to_choice: choices}
  - name: written
    data: written.jsonl
    chance: 0.0
    metric: exact_match
    lm_eval:
      output_type: generate_until
      doc_to_text: prompt
      doc_to_target: answer
      generation_kwargs: {until: ["\\n"], max_gen_toks: 8}
"""
# Settings that fit layers 64 wide, for methods whose own do not.
METHODS: dict[str, dict[str, Any]] = {
    "boft": {"block_size": 16}, "corda": {"rank": 4, "texts": 4}, "freeze": {"layers": 1},
    "oft": {"block_size": 16}, "peft": {"type": "lokr", "options": {"r": 4, "alpha": 8}}, "shira": {"rank": 4},
    "p-tuning": {"tokens": 4, "hidden": 16},
}  # fmt: skip
PAID: dict[str, Any] = {"reward": {"rules": [{"rule": "length", "value": [1, 8]}]}, "max_new_tokens": 4}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "grpo": {**PAID, "generations": 2},
    "rloo": {**PAID, "generations": 2},
    "ppo": PAID,
    "pretrain": {"layers": 1, "hidden_size": 32, "heads": 2, "vocabulary": 300},
}
UNCHECKED = ("reward", "pretrain")  # one writes no text, the other has no base
PROTECTIONS: dict[str, Any] = {
    "ewc": {"weight": 1.0, "tokens": 32, "windows": 2}, "freeze_layers": [0], "kl_to_base": 0.5, "l2_sp": 0.1,
    "loss_adaptive_lr": 1.0, "mask_surprising": 1e6, "replay": {"from_base": 2, "share": 0.2, "max_new_tokens": 4},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A run by its recipe's sections, and its training rows."""

    name: str
    sections: dict[str, Any]
    rows: str = "answers"


@dataclass
class Outcome:
    """The result of a run: exit codes by verb, and what its second step waited for."""

    name: str
    codes: dict[str, int] = field(default_factory=dict)
    said: str = ""  # the last output of the job that failed
    mismatches: list[str] = field(default_factory=list)
    waits: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    masks: dict[str, int] = field(default_factory=dict)
    emulated: dict[str, int] = field(default_factory=dict)  # done in bfloat16 on a card without it


def cases(model: Path) -> list[Case]:
    """Return every method, objective and protection that finetop has, and a few settings that change a step."""
    from finetop.core.train import methods, objectives, protections

    def teach(name: str) -> dict[str, Any]:
        own = {"teacher": str(model)} if name == "distill" else OBJECTIVES.get(name, {})
        method = "full" if name == "pretrain" else "lora"
        more = {"check": {"general": None}} if name in UNCHECKED else {}
        return {"objective": {"name": name, **own}, "method": {"name": method}, **more}

    rows = {
        **dict.fromkeys(("dpo", "orpo", "reward"), "pairs"),
        **dict.fromkeys(("grpo", "rloo", "ppo"), "prompts"),
        **dict.fromkeys(("pretrain", "continued-pretraining"), "texts"),
        "kto": "labels",
    }
    lora = {"method": {"name": "lora"}}
    full, grpo = {"method": {"name": "full"}}, teach("grpo")
    return [
        *(
            Case(f"method {name}", {
                "method": {"name": name, **METHODS.get(name, {})},
                "model": {"quantize": sorted(methods.load(name).quantized)[-1]},  # none, if it supports that
            })
            for name in methods.names()
        ),
        *(Case(f"objective {name}", teach(name), rows.get(name, "answers")) for name in objectives.names()),
        *(Case(f"protection {name}", {**full, "protect": {name: PROTECTIONS[name]}}) for name in protections.names()),
        Case("objective dpo, full", {**teach("dpo"), **full}, "pairs"),
        Case("objective grpo, full", {**grpo, **full}, "prompts"),
        Case("objective grpo, full, continuous", {**grpo, **full, "model": {"engine": "continuous"}}, "prompts"),
        Case("packing", {**lora, "objective": {"name": "sft", "packing": True}}),
        Case("activation checkpointing", {**lora, "train": {"activation_checkpointing": True}}),
        Case("checks on the way", {**lora, "check": {"every": 2, "general": {"suite": "tiny"}}}),
        *(Case(kind, {**lora, "model": {"quantize": kind}}) for kind in ("nf4", "int8")),
    ]  # fmt: skip


def prepare(home: Path) -> None:
    """Write a suite and training rows of every shape."""
    suites = home / "suites"
    suites.mkdir(parents=True)
    (suites / "tiny.yaml").write_text(SUITE)
    (suites / "general.txt").write_text(TEXT * 240)
    numbers = range(16)
    choices = ["a shop", "a mill"]
    questions = [f"What is {n}?" for n in numbers]
    items = [{"id": f"n{n}", "question": questions[n], "choices": choices, "gold": 0} for n in numbers]
    write_rows(suites / "items.jsonl", items)
    write_rows(suites / "written.jsonl", [{"prompt": questions[n], "answer": f"{n}"} for n in numbers])
    pairs = [{"prompt": questions[n], "chosen": f"It is {n * n}.", "rejected": "Lamps."} for n in numbers]
    rows: dict[str, list[dict[str, Any]]] = {
        "answers": [{"prompt": questions[n], "completion": "It is. " * (1 + n % 3)} for n in numbers],
        "pairs": pairs,
        "prompts": [{"prompt": questions[n], "answer": str(n)} for n in numbers],
        "texts": [{"text": f"{n}. {TEXT * 3}"} for n in numbers],
        "labels": [
            {"prompt": pair["prompt"], "completion": pair[key], "label": key == "chosen"}
            for pair in pairs
            for key in ("chosen", "rejected")
        ],
    }
    for name, some in rows.items():
        write_rows(home / f"{name}.jsonl", some)


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def recipe_of(case: Case, home: Path, model: Path, steps: int) -> dict[str, Any]:
    """Resolve a case's recipe, with this many steps."""
    from finetop.core.recipe.load import resolve_text

    whole: dict[str, Any] = {
        "recipe": 1, "name": "run", "model": {"id": str(model), "dtype": "auto"}, "method": {"name": "lora"},
        "objective": {"name": "sft"},
        "data": {"train": [{"path": str(home / f"{case.rows}.jsonl")}], "eval": {"share": 0.2}, "max_tokens": 64},
        "train": {"epochs": None, "max_steps": steps, "batch_size": 2, "grad_accumulation": 2, "learning_rate": 1e-3,
                  "eval_every": 2, "save_every": 2}, "samples": {"count": 1, "max_new_tokens": 4},
        "check": {"at_end": False, "general": {"suite": "tiny"}}, "drift": {"every": 2},
    }  # fmt: skip
    for name, section in case.sections.items():
        whole[name] = section if name in ("method", "objective") else {**whole.get(name, {}), **section}
    return resolve_text(json.dumps(whole)).resolved


def run_case(case: Case, number: int, home: Path, model: Path) -> Outcome:
    """Train a run, resume it for one more step, check it; the outcome has what its second step waited for."""
    from pretended_gpu import COUNTS

    outcome = Outcome(case.name)
    COUNTS.mismatches.clear()
    COUNTS.emulated.clear()
    folder = home / "runs" / f"{number:04d}-run"
    saved = {"step": STEPS, "checkpoint": f"checkpoints/step-{STEPS:06d}"}
    jobs: list[tuple[str, int, dict[str, Any]]] = [
        ("train", STEPS, {}),
        ("train", STEPS + 1, {"resume": {**saved, "anyway": False}, "changes": []}),
    ]
    if case.name.removeprefix("objective ") not in UNCHECKED:
        jobs.append(("check", STEPS, saved))
    with second_step(outcome):
        for place, (verb, steps, args) in enumerate(jobs):
            job = folder / "jobs" / f"{place + 1:04d}-{verb}"
            spec = {
                "format": 1, "job_id": place + 1, "run_id": number, "run_name": "run", "verb": verb,
                "recipe": recipe_of(case, home, model, steps), "args": args, "log_mib": 256,
            }  # fmt: skip
            name = ("train", "resume", "check")[place]
            outcome.codes[name] = run_job(job, spec)
            if outcome.codes[name]:
                lines = (job / "log.txt").read_text(errors="replace").strip().splitlines()
                outcome.said = lines[-1] if lines else ""
                break
    outcome.mismatches = list(COUNTS.mismatches)
    outcome.emulated = dict(COUNTS.emulated)
    return outcome


def run_job(folder: Path, spec: dict[str, Any]) -> int:
    """Run one job as its own process would, its output in log.txt. Returns the exit code."""
    from finetop.core import run_job as entry

    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(spec))
    with (
        (folder / "log.txt").open("w") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        return entry.run(folder)


@contextlib.contextmanager
def second_step(outcome: Outcome) -> Iterator[None]:
    """Record the waits between the ends of steps 1 and 2: one whole step, with its line of metrics."""
    from pretended_gpu import COUNTS

    from finetop.core.train.callbacks import Meter

    original: Callable[..., None] = Meter.on_step_end

    def on_step_end(meter: Meter, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == STEPS:
            outcome.waits, outcome.copies = dict(COUNTS.waits), dict(COUNTS.copies)
            outcome.masks = dict(COUNTS.masks)
        COUNTS.clear()
        original(meter, args, state, control, **kwargs)

    Meter.on_step_end = on_step_end  # type: ignore[method-assign]
    try:
        yield
    finally:
        Meter.on_step_end = original  # type: ignore[method-assign]


def main() -> int:
    import pretended_gpu

    pretended_gpu.install()
    home, model = (Path(argument).absolute() for argument in sys.argv[1:3])
    prepare(home)
    chosen = sys.argv[3:]
    out = sys.stdout
    for number, case in enumerate(cases(model), start=1):
        if not chosen or case.name in chosen:
            print(json.dumps(asdict(run_case(case, number, home, model))), file=out, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
