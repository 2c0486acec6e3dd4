"""The trainer gets what the recipe says, and raw options are checked before a run starts."""

import msgspec
import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe import raw_options
from finetop.core.recipe.length import count_steps
from finetop.core.recipe.load import resolve_text
from finetop.core.train import trainer_args

RECIPE = "recipe: 1\nname: a\nmethod: {name: lora}\nobjective: {name: sft}\n"


def recipe_with(**train):
    recipe = resolve_text(RECIPE).recipe
    return msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, **train))


def configured(recipe, dtype, output):
    from trl import SFTConfig

    values = trainer_args.common(recipe, dtype, "cpu", output)
    return trainer_args.configure(SFTConfig, values, recipe.trainer_args)


@pytest.mark.parametrize(("raw", "says"), [
    ({"max_seq_length": 8},
     r"trainer_args\.max_seq_length: it was removed or renamed\. Remove it, and set data\.max_tokens"),
    ({"gradient_checkpointing": True}, r"Remove it, and set train\.activation_checkpointing\."),
    ({"group_by_length": True}, r"Use train_sampling_strategy"),
    ({"learning_rate": 1.0}, r"it is set in the recipe\. Remove it, and set train\.learning_rate\."),
    ({"push_to_hub": True}, r"finetop sets it itself"),
    ({"deepspeed": "x"}, r"over GPUs itself"),
    ({"logging_dir": "x"}, r"removed or renamed"),
    ({"auto_find_batch_size": True}, r"cover fewer rows\. Remove it, and set train\.batch_size"),
    ({"adam_beta": 0.9}, r"trainer_args\.adam_beta is not an option of the trainer\. Did you mean adam_beta"),
    ({"zzz": 1}, r"See the options of trl\.SFTConfig"),
])  # fmt: skip
def test_raw_options_that_do_not_hold_are_refused(raw, says):
    with pytest.raises(BadInput, match=says):
        trainer_args.check_raw(raw, {"adam_beta1", "adam_beta2", "dataloader_num_workers"})
    trainer_args.check_raw({"adam_beta1": 0.8}, {"adam_beta1"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_name_in_the_tables_is_right_about_the_installed_trainer(tmp_path):
    import dataclasses

    from trl import SFTConfig

    known = {field.name for field in dataclasses.fields(SFTConfig)}
    assert set(raw_options.ELSEWHERE) <= known
    assert known >= raw_options.OURS
    gone = set(raw_options.RENAMED) - known
    left = {"gradient_checkpointing", "gradient_checkpointing_kwargs"}
    assert set(raw_options.RENAMED) - gone == left


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_defaults_lose_nothing_silently(tmp_path):
    config = configured(recipe_with(learning_rate=3e-4, schedule="constant"), "float32", tmp_path)
    assert config.logging_nan_inf_filter is False
    assert config.learning_rate == 3e-4
    assert config.lr_scheduler_type == "constant_with_warmup"
    assert not config.bf16
    assert config.report_to == []
    assert config.activation_checkpointing is False
    recipe = msgspec.structs.replace(recipe_with(), trainer_args={"adam_beta2": 0.95})
    assert configured(recipe, "bfloat16", tmp_path).adam_beta2 == 0.95
    bad = msgspec.structs.replace(recipe_with(), trainer_args={"hub_strategy": "nonsense"})
    with pytest.raises(BadInput, match="trainer_args: nonsense is not a valid"):
        configured(bad, "float32", tmp_path)


@pytest.mark.parametrize(("epochs", "most", "batch_size", "added", "rows", "steps"), [
    (2.0, None, 4, 4, 160, 20),
    (1.0, None, 4, 4, 161, 11),
    (0.5, None, 4, 1, 10, 2),
    (2.0, 7, 1, 1, 100, 7),
    (1.0, 700, 1, 1, 100, 700),
    (None, 700, 1, 1, 100, 700),
    (3.0, None, 8, 8, 1, 3),
])  # fmt: skip
def test_steps_are_counted_as_the_trainer_counts_them(epochs, most, batch_size, added, rows, steps):
    length = {"epochs": epochs, "max_steps": most, "batch_size": batch_size, "grad_accumulation": added}
    assert count_steps(recipe_with(**length).train, rows) == steps


def test_each_rank_takes_a_batch_of_its_own():
    train = recipe_with(epochs=1.0, batch_size=2, grad_accumulation=1).train
    for rows, ranks, steps in ((36, 1, 18), (36, 2, 9), (37, 2, 10), (36, 4, 5), (3, 8, 1)):
        assert count_steps(train, rows, ranks) == steps


def test_optimizers_in_8_bits_are_for_a_gpu(tmp_path):
    recipe = recipe_with(optimizer="paged-adamw-8bit")
    says = r"train\.optimizer: paged-adamw-8bit needs a CUDA GPU, and this runs on cpu"
    with pytest.raises(BadInput, match=says):
        trainer_args.common(recipe, "bfloat16", "cpu", tmp_path)
    assert trainer_args.common(recipe, "bfloat16", "cuda:0", tmp_path)["optim"] == "paged_adamw_8bit"


def test_raw_options_are_refused_with_the_recipe_and_the_rest_before_the_model_is_loaded():
    with pytest.raises(BadInput, match=r"trainer_args\.output_dir.*sets it itself"):
        resolve_text(f"{RECIPE}trainer_args: {{output_dir: x}}\n")
    recipe = resolve_text(f"{RECIPE}trainer_args: {{adam_beta: 0.9}}\n").recipe
    with pytest.raises(BadInput, match="Did you mean adam_beta"):
        trainer_args.require_raw(recipe)
