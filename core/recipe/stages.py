"""Chains: a recipe with `stages:`, each its own run, starting from earlier ones.

recipe: 1
name: rlhf
model: {id: org/base}               # what stands here holds for every stage; the model's id for the first
stages:
  - {name: sft, extends: lora, data: {…}}
  - {name: reward, extends: reward, data: {…}}            # begins from sft
  - {name: ppo, extends: ppo, model: {id: stage:sft}, objective: {reward: {model: stage:reward}}, data: {…}}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput, RecipeError, did_you_mean, near
from finetop.core.recipe.dotted import place_of
from finetop.core.recipe.find import find_recipe, origin_of, read_text
from finetop.core.recipe.load import STAGES, Loaded, checked_root, expand_short_forms, load_root, parent_of
from finetop.core.recipe.merge import SET, merge_recipes, parse_set
from finetop.core.recipe.references import references
from finetop.core.recipe.schema import Recipe
from finetop.core.recipe.strict_yaml import Node, Origin, parse
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAVE_OUT = "leave_out"
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
MOST_STAGES = 20
SECTIONS = {field.name for field in msgspec.structs.fields(Recipe)}
REWARDED = ("ppo", "rloo", "grpo")  # objectives that may learn from a reward model


@dataclass(frozen=True)
class Stage:
    """One run of a chain: its recipe may name earlier stages as models, `stage:NAME`."""

    name: str
    loaded: Loaded


@dataclass(frozen=True)
class Chain:
    """A chain's name, its stages in order, and the text that they came from."""

    name: str
    stages: tuple[Stage, ...]
    text: str


def load_chain(path_or_name: str, sets: Sequence[str] = (), cwd: Path | None = None) -> Chain | None:
    """Load a chain by a built-in name or by path; None for a recipe of one run.

    `--set` texts apply to all stages, or to one: `sft.train.epochs=1`. Raises NotFound if there is no such recipe,
    RecipeError for an invalid stage, or one that begins from a stage that is not before it.
    """
    cwd = Path.cwd() if cwd is None else cwd
    path = find_recipe(path_or_name, cwd)
    origin = origin_of(path, cwd)
    text = read_text(path, origin.label)
    root = parse(text, origin)
    layers = _layers(root, path, cwd)
    if not any(STAGES in layer for layer in layers):
        return None
    shared, nodes = _merged(layers, root)
    sets, name = _chain_name(sets, shared, path)
    for set_text in sets:
        head = _stage_of(set_text)
        if head not in nodes and head not in SECTIONS:
            nearest = near(head[:60], [*nodes, *SECTIONS])
            hint = f"Did you mean {nearest}?" if nearest else f"Stages: {', '.join(nodes)}."
            message = f"{plain(head[:60])} is neither a stage nor a section."
            raise RecipeError(message, place=SET, key=head, hint=hint)
    stages: list[Stage] = []
    for stage, node in nodes.items():
        own_sets = [text for text in sets if _stage_of(text) not in nodes or _stage_of(text) == stage]
        own_sets = [text.removeprefix(f"{stage}.") for text in own_sets]
        laid = _with_defaults(_stage_over_shared(shared, node, f"{name}.{stage}"), node, own_sets, stages)
        if node.origin != origin:  # an inherited stage counts as one of this file
            laid = Node(laid.value, origin, 0)
        loaded = load_root(laid, text, path, own_sets, cwd)
        if loaded.recipe.command is not None:
            place = place_of("command", loaded.places, loaded.chain[0])
            hint = "Run it alone first; then a recipe starts from it: model.id: run:NAME."
            message = f"stage {stage}: a command can't be a stage of a chain."
            raise RecipeError(message, place=place, key="command", hint=hint)
        _require_before(loaded, stage, [earlier.name for earlier in stages], list(nodes))
        stages.append(Stage(stage, loaded))
    return Chain(name, tuple(stages), text)


def _layers(root: Node, path: Path, cwd: Path) -> list[dict[str, Node]]:
    """Return the settings of a chain and of those that it extends, itself first, without recipes of one run."""
    layers: list[dict[str, Node]] = []
    seen = {path}
    while isinstance(root.value, dict):
        if STAGES in root.value:
            checked_root(root.with_value(_without(root.value, STAGES)))
        layers.append(root.value)
        extends = root.value.get("extends")
        if extends is None or extends.value is None:
            break
        path = parent_of(extends, seen)
        seen.add(path)
        origin = origin_of(path, cwd)
        root = parse(read_text(path, origin.label), origin)
    last = max((at for at, layer in enumerate(layers) if STAGES in layer), default=0)
    return layers[: last + 1]


def _merged(layers: Sequence[dict[str, Node]], root: Node) -> tuple[Node, dict[str, Node]]:
    """Merge a chain over those that it extends: the settings shared by all stages, and the stages by name."""
    *children, oldest = layers
    shared = root.with_value(_without(oldest, STAGES))
    nodes = _with_own({}, oldest.get(STAGES))
    for layer in reversed(children):
        shared = _over(shared, root.with_value(_without(layer, STAGES, "extends")))
        nodes = _with_own(nodes, layer.get(STAGES))
    return shared, nodes


def _without(settings: dict[str, Node], *keys: str) -> dict[str, Node]:
    return {key: node for key, node in settings.items() if key not in keys}


def _with_own(nodes: dict[str, Node], listed: Node | None) -> dict[str, Node]:
    """Merge the stages that a chain lists over those of the chain that it extends.

    A stage of a known name merges over that stage, or leaves it out. A new one goes before the next listed stage of the
    parent, else to the end. Raises RecipeError.
    """
    if listed is None:
        return nodes
    order, merged = list(nodes), dict(nodes)
    new: list[str] = []
    for name, node in _named(listed).items():
        if _leaves_out(node, name, nodes):
            order.remove(name)
        elif name in nodes:
            merged[name] = _over(nodes[name], node)
            order[order.index(name) : order.index(name)] = new
            new = []
        else:
            merged[name] = node
            new.append(name)
    order += new
    if not 1 <= len(order) <= MOST_STAGES:
        hint = f"Keep 1 to {MOST_STAGES} of them."
        raise RecipeError(f"the chain has {len(order)} stages.", place=listed.place, key=STAGES, hint=hint)
    return {name: merged[name] for name in order}


def _leaves_out(node: Node, name: str, there: dict[str, Node]) -> bool:
    """Return True if a stage is only named to be left out. Raises RecipeError if it can't be."""
    flag = node.settings.get(LEAVE_OUT)
    if flag is None:
        return False
    if flag.value is not True or node.settings.keys() != {"name", LEAVE_OUT}:
        hint = f"Write {{name: {name}, {LEAVE_OUT}: true}} and nothing else."
        raise RecipeError(f"stage {name}: {LEAVE_OUT} is not alone.", place=flag.place, key=STAGES, hint=hint)
    if name not in there:
        inherited = "Only a stage of the chain that this one extends can be left out."
        hint = did_you_mean(name, there) if there else inherited
        message = f"stage {name}: no such stage to leave out."
        raise RecipeError(message, place=flag.place, key=STAGES, hint=hint)
    return True


def _over(parent: Node, child: Node) -> Node:
    """Merge a stage over the inherited one. A different `extends` also drops the inherited method and objective."""
    inherited = dict(parent.settings)
    before, extends = inherited.get("extends"), child.settings.get("extends")
    if extends is not None and (before is None or before.value != extends.value):
        inherited = _without(inherited, "method", "objective")
    laid = merge_recipes(expand_short_forms(parent.with_value(inherited)), child)
    passed_on = {key: node for key, node in inherited.items() if key in ("extends", "about")}
    return child.with_value({**passed_on, **laid.settings})


def _chain_name(sets: Sequence[str], shared: Node, path: Path) -> tuple[list[str], str]:
    """Return the `--set` texts without the name, and the chain's name: --set's, the recipe's own, or the file's."""
    name = shared.settings["name"].value if "name" in shared.settings else path.stem
    for text in sets:
        if text.startswith("name="):
            name = parse_set(text, Origin(SET, shared.origin.folder))[1].value
    return [text for text in sets if not text.startswith("name=")], str(name)


def _stage_of(text: str) -> str:
    """Return the part of a --set before the first dot: a stage's name, or a section's."""
    return text.partition("=")[0].partition(".")[0].strip()


def _named(listed: Node) -> dict[str, Node]:
    """Return the stages by name, in order. Raises RecipeError for invalid or repeated names."""
    nodes = listed.value
    if not isinstance(nodes, list) or not 1 <= len(nodes) <= MOST_STAGES:
        hint = "Write one `- {name: sft, …}` for each."
        message = f"stages must be a list of 1 to {MOST_STAGES} stages."
        raise RecipeError(message, place=listed.place, key=STAGES, hint=hint)
    stages: dict[str, Node] = {}
    for node in nodes:
        name = node.settings["name"].value if "name" in node.settings else None
        if not isinstance(name, str) or not NAME.fullmatch(name):
            hint = "Each stage needs a name of lower-case letters, digits and -, as in {name: sft, …}."
            problem = "has no name" if name is None else f"is named {quoted(name)}"
            raise RecipeError(f"a stage {problem}.", place=node.place, key=STAGES, hint=hint)
        if name in stages or name in SECTIONS:
            why = "another stage" if name in stages else "a section of every recipe"
            message = f"stage {name}: {why} has that name."
            raise RecipeError(message, place=node.place, key=STAGES, hint="Rename it.")
        stages[name] = node
    return stages


def _stage_over_shared(shared: Node, node: Node, name: str) -> Node:
    """Merge a stage over the shared settings; it inherits `extends`, `about` and `recipe` unless it sets them."""
    own = ("extends", "about", "recipe")
    inherited = {key: setting for key, setting in shared.settings.items() if key in own}
    child = {**inherited, **node.settings, "name": node.implies(name, "from chain and stage")}
    return merge_recipes(expand_short_forms(shared), node.with_value(child))


def _with_defaults(laid: Node, node: Node, sets: Sequence[str], before: Sequence[Stage]) -> Node:
    """Make a stage begin from the last stage before it that writes text, and learn from the last reward model."""
    settings = dict(laid.settings)
    set_keys = [text.partition("=")[0].strip() for text in sets]
    writers = [earlier.name for earlier in before if earlier.loaded.recipe.objective.name != "reward"]
    has_model = "id" in _entries(node.settings.get("model")) or "model.id" in set_keys
    if writers and not has_model:
        begin = {"id": node.implies(f"stage:{writers[-1]}", "from the stage before")}
        settings["model"] = node.with_value(_entries(settings.get("model")) | begin)
    reward_models = [earlier.name for earlier in before if earlier.loaded.recipe.objective.name == "reward"]
    objective = _entries(settings.get("objective"))
    named = objective.get("name") or node.settings.get("extends")  # the built-in recipe of an objective
    has_reward = "reward" in objective or any("objective.reward" in key for key in set_keys)
    if reward_models and not has_reward and named is not None and named.value in REWARDED:
        judge = node.implies(f"stage:{reward_models[-1]}", "from the stage before")
        reward = node.with_value({"model": judge, "rules": node.implies([], "from the stage before")})
        settings["objective"] = node.with_value({**objective, "reward": reward})
    return laid.with_value(settings)


def _entries(section: Node | None) -> dict[str, Node]:
    return {} if section is None else section.settings


def _require_before(loaded: Loaded, stage: str, before: Sequence[str], all_stages: Sequence[str]) -> None:
    """Require that a stage begins from earlier stages. Raises RecipeError with the place of the setting."""
    try:
        stage_references = references(loaded.resolved)
    except BadInput as error:
        message = f"stage {stage}: {error.message}"
        raise RecipeError(message, place=loaded.chain[0], hint=error.hint) from error
    for key, reference in stage_references.items():
        if reference.kind != "stage" or reference.name in before:
            continue
        place = place_of(key, loaded.places, loaded.chain[0])
        prefix = f"stage {stage}: {key}: "
        if reference.name in all_stages:
            which = "itself" if reference.name == stage else f"{reference.name}, which comes after it"
            hint = "A stage can only refer to earlier stages: move it, or name another."
            raise RecipeError(f"{prefix}it begins from {which}.", place=place, key=key, hint=hint)
        hint = did_you_mean(reference.name, before) if before else "It is the first stage: name a model."
        message = f"{prefix}there is no stage {plain(reference.name)}."
        raise RecipeError(message, place=place, key=key, hint=hint)
