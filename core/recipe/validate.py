"""Turn a tree of located values into a Recipe, and report everything that is wrong with it at once."""

from __future__ import annotations

from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from finetop.core.errors import NotFound, RecipeError, did_you_mean, folded_name, near
from finetop.core.plugins import METHODS, OBJECTIVES, PluginKind
from finetop.core.recipe.cross_checks import cross_problems
from finetop.core.recipe.find import resolve_path
from finetop.core.recipe.schema import Method, Objective, Recipe
from finetop.core.recipe.strict_yaml import Node, to_plain
from finetop.core.recipe.type_words import type_words
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MISSING = object()
RECIPE = "a recipe"
TOP = "A chain's stages are at the top level of its recipe."
Kind = TypeVar("Kind")
CHOICES: dict[Any, PluginKind[Any]] = {Method: METHODS, Objective: OBJECTIVES}


def read_recipe(
    root: Node, *, to_train: bool = True
) -> tuple[Recipe | None, list[RecipeError], dict[str, str], dict[str, str]]:
    """Read a whole merged tree. Returns the recipe or None, all problems, the place of each setting, what is implied.

    `to_train` is False for a recipe that only says what to check and how. Places are by dotted key
    (`data.train[0].path` -> `faq.yaml:7`), for the settings that were written or are implied.
    """
    command = root.settings.get("command")
    to_train = to_train and (command is None or command.value is None)
    reader = _Reader(to_train)
    recipe = reader.read(root, Recipe, "")
    problems = list(reader.problems)
    if isinstance(recipe, Recipe) and not problems:
        problems += cross_problems(recipe, reader.places, root.place, to_train=to_train)
    return (None if problems else recipe), problems, reader.places, reader.implied


def read_as(root: Node, kind: type[Kind], whole: str) -> Kind:
    """Read a tree as a struct of a file that is no recipe, called `whole` in messages. Raises its first RecipeError."""
    reader = _Reader(to_train=False, whole=whole)
    result = reader.read(root, kind, "")
    if reader.problems:
        raise reader.problems[0]
    assert isinstance(result, kind)
    return result


class _Reader:
    """Walks tree and types side by side, collecting problems instead of stopping at the first."""

    def __init__(self, to_train: bool, whole: str = RECIPE) -> None:
        self.to_train = to_train
        self.whole = whole
        self.problems: list[RecipeError] = []
        self.places: dict[str, str] = {}
        self.implied: dict[str, str] = {}

    def problem(self, place: str, key: str, message: str, hint: str = "") -> Any:
        self.problems.append(RecipeError(message, place=place, key=key, hint=hint))
        return _MISSING

    def read(self, node: Node, annotation: Any, key: str) -> Any:
        if key:
            self.places[key] = node.place
        if node.implied:
            self.implied[key] = node.implied
        for arm in arms(annotation):
            if arm in CHOICES:
                return self.choice(node, arm, CHOICES[arm], key)
            if isinstance(node.value, dict) and is_struct(arm):
                return self.struct(node.value, node, arm, key, owner=key)
            if isinstance(node.value, dict) and get_origin(arm) is dict and is_single(get_args(arm)[1]):
                kind, children = get_args(arm)[1], node.value.items()
                entries = {name: self.read(child, kind, f"{key}.{name}") for name, child in children}
                return _MISSING if _MISSING in entries.values() else entries
            if isinstance(node.value, list) and get_origin(arm) is tuple:
                item = get_args(arm)[0]
                items = [self.read(child, item, f"{key}[{i}]") for i, child in enumerate(node.value)]
                return _MISSING if _MISSING in items else tuple(items)
        return self.leaf(node, annotation, key)

    def leaf(self, node: Node, annotation: Any, key: str) -> Any:
        value = to_plain(node)
        try:
            read = msgspec.convert(value, annotation)
        except msgspec.ValidationError:
            what = f"{key} is {quoted(value)}" if key else "this"
            hint = ""
            if value is None and any(map(is_struct, arms(annotation))):
                hint = "Leave it out for its defaults; null is for single settings."
            elif isinstance(value, str) and self.whole == RECIPE and key in _MAIN:
                hint = f"Did you mean {_MAIN[key]}?"  # a text stands for a whole section
            return self.problem(node.place, key, f"{what}; it must be {type_words(annotation)}.", hint)
        if isinstance(read, str) and (is_path(read, annotation) or is_model_folder(read, annotation, node)):
            try:
                return str(resolve_path(read, node.origin.folder))
            except ValueError as error:
                return self.problem(node.place, key, f"{key}: {error}")
        return read

    def choice(self, node: Node, kind: type[Method | Objective], plugins: PluginKind[Any], key: str) -> Any:
        """Read name and options of `method:` or `objective:`; if nothing is trained, any name is accepted."""
        if not isinstance(node.value, dict):
            message = f"{key} is {quoted(node.value)}; it must be a mapping."
            return self.problem(node.place, key, message, f"Write {key}: {{name: …}}.")
        options = dict(node.value)
        name_node = options.pop("name", None)
        name = kind(options=None).name if name_node is None else name_node.value
        place = node.place if name_node is None else name_node.place
        self.places[f"{key}.name"] = place
        if not isinstance(name, str):
            must = f"must be one of {', '.join(plugins.names())}"
            return self.problem(place, f"{key}.name", f"{key}.name is {quoted(name)}; it {must}.")
        try:
            settings = plugins.load(name).options
        except NotFound as error:
            if not self.to_train:
                return kind(name=name, options={key: to_plain(child) for key, child in options.items()})
            message = f"{key}.name: there is no {key} {quoted(name)}."
            return self.problem(place, f"{key}.name", message, error.hint)
        read = self.struct(options, node, settings, key, owner=name)
        return _MISSING if read is _MISSING else kind(name=name, options=read)

    def struct(
        self, entries: Mapping[str, Node], node: Node, kind: type[msgspec.Struct], key: str, owner: str
    ) -> Any:
        known = struct_fields(kind)
        values: dict[str, Any] = {}
        for name, child in entries.items():
            child_key = f"{key}.{name}" if key else name
            if name in known:
                values[name] = self.read(child, known[name].type, child_key)
            else:
                what = f"an option of {owner}" if owner else f"a section of {self.whole}"
                message, hint = f"{plain(child_key)} is not {what}.", self.meant(child_key, owner, known)
                values[name] = self.problem(child.place, child_key, message, hint)
        for name, field in known.items():
            if field.required and name not in values:
                child_key = f"{key}.{name}" if key else name
                values[name] = self.default(node, field, child_key)
        if any(value is _MISSING for value in values.values()):
            return _MISSING
        return kind(**{known[name].name: value for name, value in values.items()})

    def meant(self, key: str, owner: str, known: Iterable[str]) -> str:
        """Return a hint for an unknown key."""
        name = key.rpartition(".")[2]
        if name == "stages":
            return TOP
        if self.whole != RECIPE:
            return did_you_mean(name[:60], known)
        return _hint_for(key, owner, known)

    def default(self, node: Node, field: msgspec.structs.FieldInfo, key: str) -> Any:
        """Read an omitted section that depends on its name, or report that the setting is missing."""
        if field.type in tuple(CHOICES):
            return self.read(node.with_value({}), field.type, key)
        return self.problem(node.place, key, f"{key} is missing.", f"It is {type_words(field.type)}.")


def arms(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of an annotation's union, without Annotated."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return tuple(arm for part in get_args(annotation) for arm in arms(part))
    return (annotation,)


def item_of(annotation: Any) -> Any:
    """Return the type of a list's items; None if it is not a list."""
    return next((get_args(arm)[0] for arm in arms(annotation) if get_origin(arm) is tuple), None)


def is_single(annotation: Any) -> bool:
    """Return True if a type is a text, a number or a switch."""
    return all(arm in (str, int, float, bool) for arm in arms(annotation))


def is_struct(annotation: Any) -> bool:
    """Return True if a type is a section, not a single value."""
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def extra(annotation: Any) -> dict[str, Any]:
    """Return the marks of a setting, by those of core/recipe/schema.py."""
    metas = (meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    return {key: value for meta in metas for key, value in (meta.extra or {}).items()}


def is_path(text: str, annotation: Any) -> bool:
    """Return True if this text, in a setting of this type, is a path to resolve."""
    mark = extra(annotation).get("path")
    return mark == "file" or (mark == "id" and text.startswith(("./", "../", "/", "~")))


def is_model_folder(text: str, annotation: Any, node: Node) -> bool:
    """Return True if this text, which looks like a hub id, is a model's folder beside the recipe."""
    if extra(annotation).get("path") != "id":
        return False
    try:
        return (node.origin.folder / text / "config.json").is_file()
    except (OSError, ValueError):
        return False


@lru_cache
def struct_fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the settings of a section by their written names; cached, as evaluating annotations takes time."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


BEST = "train.keep"  # the one of these settings whose value other programs' names imply
# By setting: short forms, and names in transformers, TRL, PEFT, Axolotl, LLaMA-Factory and Unsloth.
OTHER_NAMES = {
    "model.id": "model_id model_name model_name_or_path pretrained_model_name_or_path base base_model model_path",
    "model.dtype": "precision bf16 fp16 torch_dtype mixed_precision compute_type",
    "model.quantize": "quantization bits load_in_4bit load_in_8bit quantization_bit qlora",
    "model.attention": "attn attn_implementation flash_attention flash_attn use_flash_attention_2",
    "model.engine": "vllm use_vllm",
    "method.name": "adapter peft peft_type finetuning_type",
    "method.rank": "r lora_r lora_rank lora_dim",
    "method.alpha": "lora_alpha scaling",
    "method.dropout": "lora_dropout",
    "method.target_modules": "targets target modules lora_target lora_target_modules layers",
    "method.rslora": "use_rslora",
    "objective.packing": "sample_packing pack",
    "objective.neftune_alpha": "neftune neftune_noise_alpha",
    "data.train": "dataset datasets dataset_name train_file train_data train_dataset data_path train_path",
    "data.eval": "val validation eval_data eval_dataset val_set_size val_size validation_file eval_file",
    "data.max_tokens": "seq_len seq_length sequence_len sequence_length max_len max_length max_seq_len max_seq_length"
    " cutoff_len context context_length ctx",
    "train.learning_rate": "lr rate peak_lr max_lr",
    "train.batch_size": "bs batch micro_batch_size per_device_train_batch_size train_batch_size",
    "train.eval_batch_size": "eval_bs per_device_eval_batch_size",
    "train.grad_accumulation": "grad_acc grad_accum ga accum accumulation gradient_accumulation"
    " gradient_accumulation_steps",
    "train.epochs": "epoch num_epochs n_epochs num_train_epochs",
    "train.max_steps": "steps num_steps n_steps total_steps iters iterations max_iters",
    "train.schedule": "scheduler lr_scheduler lr_scheduler_type lr_schedule decay_schedule",
    "train.warmup_steps": "warmup warmup_ratio num_warmup_steps",
    "train.weight_decay": "wd decay",
    "train.optimizer": "optim opt",
    "train.max_grad_norm": "clip grad_clip clip_grad gradient_clipping max_norm clip_norm",
    "train.activation_checkpointing": "gradient_checkpointing grad_checkpointing checkpointing",
    "train.compile": "torch_compile",
    "train.kernels": "liger use_liger use_liger_kernel",
    "train.save_every": "save_steps save_interval checkpoint_every",
    "train.eval_every": "eval_steps eval_interval evals_per_epoch",
    "train.keep_checkpoints": "save_total_limit",
    BEST: "load_best_model_at_end load_best_model metric_for_best_model save_best keep_best best",
    "train.stop_early": "early_stopping early_stop patience early_stopping_patience",
    "train.seed": "random_seed random_state",
    "train.parallel": "fsdp deepspeed ddp strategy",
    "check.general.suite": "benchmark eval_suite",
    "check.general.margin": "tolerance threshold",
    "budget.gpus": "num_gpus n_gpus devices gpu",
    "budget.nodes": "num_nodes nnodes",
    "budget.hours": "max_hours time_limit",
}
_MEANT = {
    folded_name(other): key
    for key, others in OTHER_NAMES.items()
    for other in (key.rpartition(".")[2], *others.split())  # also its own name, typed in another section
}

_MAIN = {
    "model": "model.id",
    "data": "data.train",
    "check": "check.general",
    "check.target": "check.target.path",
}


def _hint_for(key: str, owner: str, known: Iterable[str]) -> str:
    """Suggest a setting for an unknown key: a typo, another program's name, or a setting of another section.

    `known` are the names beside it; `owner` is their section, method or objective.
    """
    known = list(known)
    section, _, name = key.rpartition(".")
    folded = folded_name(name)
    meant = _MEANT.get(folded, "")
    above, _, last = meant.rpartition(".")
    if above == section and last in known:
        return f"Did you mean {last}{': best' if meant == BEST else ''}?"
    if (near_by := near(name[:60], known)) and (folded_name(near_by) == folded or not meant):
        return f"Did you mean {near_by}?"
    if meant and (above != section or last in known):
        return f"Did you mean {meant}?"
    is_section = owner in ("", section)
    command = f"recipe {section.partition('[')[0]}".strip() if is_section else f"methods {owner}"
    return did_you_mean(name[:60], known, whole=f"finetop {command}")
