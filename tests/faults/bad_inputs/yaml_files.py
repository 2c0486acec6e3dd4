"""30 YAML files that are no valid recipes, settings or hosts: the file's name and text, and the message."""

from __future__ import annotations

from bad_inputs.example import Bad

HEAD = "recipe: 1\nextends: lora\n"
DATA = "data: {train: [{path: rows.jsonl}]}\n"
LAUGHS = "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


def recipe(what: str, text: str | bytes, *says: str) -> Bad:
    return Bad(what, ("bad.yaml", text), says)


EXAMPLES = [
    recipe("a tag that runs code", HEAD + 'about: !!python/object/apply:os.system ["id"]\n',
           "bad.yaml:3:", "os.system", "Write a plain value."),
    recipe("a billion laughs", "recipe: 1\na: &a [lol]\n" + LAUGHS, "bad.yaml:2:", "&name", "Write the value out"),
    recipe("a merge key", HEAD + "train: {<<: *base}\n", "bad.yaml:3:", "*name", "extends"),
    recipe("nested 500 deep", HEAD + "about: " + "[" * 500 + "]" * 500 + "\n", "bad.yaml:3:", "24 levels", "brackets"),
    recipe("a number of 40 digits", HEAD + "train: {seed: 1" + "0" * 39 + "}\n",
           "bad.yaml:3:", "100000", "too large", "quotes"),
    recipe("a number above its range", HEAD + DATA + "train: {learning_rate: 20}\n",
           "bad.yaml:4:", "train.learning_rate is 20", "at most 1"),
    recipe("a number below its range", HEAD + DATA + "train:\n  epochs: 1\n  batch_size: -4\n",
           "bad.yaml:6:", "train.batch_size is -4", "whole number"),
    recipe("NaN", HEAD + DATA + "train: {learning_rate: .nan}\n", "bad.yaml:4:", ".nan", "finite number"),
    recipe("text for a number", HEAD + DATA + "train: {epochs: three}\n", "bad.yaml:4:", "'three'", "a number"),
    recipe("yes for true", HEAD + DATA + "train: {resumable: yes}\n",
           "bad.yaml:4:", "'yes'", "true or false"),
    recipe("the same key twice", HEAD + DATA + "train: {epochs: 1}\ntrain: {epochs: 2}\n",
           "bad.yaml:5:", "train is set twice", "line 4", "Remove one"),
    recipe("a slip in a key", HEAD + DATA + "method:\n  rnk: 8\n", "bad.yaml:5:", "method.rnk", "Did you mean rank?"),
    recipe("a slip in a section", HEAD + DATA + "trian: {epochs: 1}\n",
           "bad.yaml:4:", "trian is not a section", "Did you mean train?"),
    recipe("a method that is none", HEAD + DATA + "method: {name: lorra}\n",
           "bad.yaml:4:", "'lorra'", "Did you mean lora?"),
    recipe("two settings that don't go together", HEAD + DATA + "model: {quantize: nf4}\nmethod: {name: full}\n",
           "bad.yaml:4:", "full does not work with nf4 weights", "Set model.quantize to none"),
    recipe("indented by a tab", HEAD + "train:\n\tepochs: 2\n", "bad.yaml:4:", "\\t", "spaces"),
    recipe("a quote that never ends", HEAD + 'about: "a voice\n' + DATA, "bad.yaml:5:",
            "quoted scalar that begins on line 3", "quotes"),
    recipe("two documents", HEAD + DATA + "---\n" + HEAD, "bad.yaml:4:", "a second document", "remove the `---`"),
    recipe("nothing but a comment", "# to do\n", "bad.yaml:1:", "is empty", "recipe: 1"),
    recipe("a list", "- recipe: 1\n- extends: lora\n", "bad.yaml:1:", "a list", "recipe: 1"),
    recipe("no version", "extends: lora\n" + DATA, "bad.yaml:1:", "no version", "Write `recipe: 1`"),
    recipe("a newer version", "recipe: 2\nextends: lora\n", "bad.yaml:1:", "recipe is 2", "reads version 1"),
    recipe("not UTF-8", HEAD.encode() + b"about: caf\xe9\n", "bad.yaml:3:", "UTF-8", "Save it as UTF-8"),
    recipe("300 KiB of it", HEAD + "# " + "x" * 300 * 1024 + "\n", "bad.yaml:", "256 KiB", "its own file"),
    recipe("extends itself", "recipe: 1\nextends: ./bad.yaml\n", "bad.yaml:2:", "circular", "Extend another"),
    recipe("data that is not there", HEAD + "data:\n  train:\n    - {path: row.jsonl}\n",
           "bad.yaml:5:", "row.jsonl", "Did you mean rows.jsonl?"),
    recipe("a secret", HEAD + DATA + "about: hf_" + "aB3" * 12 + "\n", "bad.yaml:4:", "Hugging Face", "environment"),
    recipe("a command as one text", "recipe: 1\ncommand: python train.py\n",
           "bad.yaml:2:", "'python train.py'", "a mapping"),
    recipe("a command without a program", "recipe: 1\ncommand: []\n", "bad.yaml:2:", "empty", "[python, train.py]"),
    recipe("a command beside our own trainer", HEAD + DATA + "command: [python3, train.py]\n",
           "bad.yaml:4:", "its objective is sft", "Leave objective and extends out"),
    recipe("a program that is not there", "recipe: 1\nname: x\ncommand: [trainn, conf.yaml]\n",
           "there is no program trainn", "activate its environment"),
    recipe("a key in a command's option", "recipe: 1\nname: x\ncommand: [python3, -m, train, --api_key, abcdef]\n",
           "--api_key is a secret", "environment"),
    recipe("GPUs chosen by a command", "recipe: 1\ncommand: {run: [python3], env: {CUDA_VISIBLE_DEVICES: 0}}\n",
           "bad.yaml:2:", "command.env.CUDA_VISIBLE_DEVICES", "budget.gpus"),
    Bad("a setting of the home below its range", ("home/settings.yaml", "settings: 1\nkeep: {last: 0}\n"),
        ("settings.yaml:2:", "keep.last is 0", "1 to 10000")),
    Bad("a slip in a setting of the home", ("home/settings.yaml", "settings: 1\nkep: {last: 3}\n"),
        ("settings.yaml:2:", "kep is not a section of the settings", "Did you mean keep?")),
    Bad("a host that is an option of ssh", ("home/hosts.yaml", "lab:\n  ssh: -oProxyCommand=id\n"),
        ("hosts.yaml:2:", "-oProxyCommand=id", "user@host")),
]  # fmt: skip
