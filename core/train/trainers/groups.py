"""The trainer of objectives that compare several answers to one prompt: TRL's RLOO and GRPO over rendered prompts.

TRL gets token ids instead of texts, so that the model reads exactly what finetop rendered and showed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetop.core.data.examples import PromptExample
    from finetop.core.train.trainer_setup import Setup
    from finetop.core.train.trainers.reward_sum import RewardSum

METRICS = {
    "reward": "reward",
    "reward_std": "reward_deviation",
    "answer_kl": "answer_kl",
    "completions/mean_length": "response_tokens",
    "completions/clipped_ratio": "unfinished",
    "clip_ratio/region_mean": "clip_fraction",
    "frac_reward_zero_std": "groups_alike",  # share of prompts whose answers have equal rewards: no signal
}
OWN = {
    "beta": "objective.kl_coefficient",
    "num_generations": "objective.generations",
    "num_iterations": "objective.passes",
    "max_completion_length": "objective.max_new_tokens",
    "temperature": "objective.temperature",
    "epsilon": "objective.clip",
    "reward_weights": "objective.reward",
    "log_completions": "nothing else: answers are shown as samples",
    "use_vllm": "model.engine",
    "use_transformers_continuous_batching": "model.engine",
    "transformers_continuous_batching_config": "nothing else: finetop limits its cache",
    "use_transformers_paged": "model.engine",
    "generation_batch_size": "nothing else: it equals a step's rows",
    "steps_per_generation": "nothing else: it equals a step's batches",
}


def make_trainer(
    setup: Setup, trainer_class: Any, config_class: Any, more: Mapping[str, Any], own: Mapping[str, str]
) -> Any:
    """Build a TRL trainer that generates groups of answers and gets their rewards from the recipe.

    `more` are arguments of its class, `own` maps each of them to its setting. Raises BadInput for fewer prompts than a
    step takes.
    """
    from finetop.core.train import objectives
    from finetop.core.train.trainers import language, reward_sum

    options = setup.recipe.objective.options
    objectives.load(setup.recipe.objective.name).require_rows(setup.recipe, len(setup.train))
    scorer = reward_sum.begin(setup)
    rows: list[Any] = [*setup.train, *setup.eval]
    values = {
        "beta": options.kl_coefficient,
        "num_generations": options.generations,
        "num_generations_eval": 1,
        "num_iterations": options.passes,
        "max_completion_length": options.max_new_tokens,
        "temperature": options.temperature,
        "epsilon": options.clip,
        "disable_dropout": True,  # old and new probabilities must differ only through the weights
        "trust_remote_code": setup.base.trust_remote_code,
        **more,
        **(vllm_values(setup) if setup.recipe.model.engine == "vllm" else {}),
    }
    # With full weights TRL loads the reference model again, from the path in the model's config.
    setup.model.config.name_or_path = str(setup.base.path)

    def table(prompts: Sequence[PromptExample]) -> Any:
        first = len(setup.train) if prompts is setup.eval else 0
        ids = [prompt.prompt_ids for prompt in prompts]
        return language.data_set({"prompt": ids, "row": list(range(first, first + len(prompts)))})

    with language.switched_off(setup.model):
        own_class, settings = _over_ids(trainer_class, setup), {**OWN, **own}
        given: dict[str, Any] = {"table": table, "reward_funcs": reward_function(scorer, rows)}
        trainer = language.build(setup, own_class, config_class, values, settings, padded="left", **given)
    if setup.recipe.model.engine == "vllm":
        _keep_base_exact(trainer, setup)
    return trainer


def _keep_base_exact(trainer: Any, setup: Setup) -> None:
    """Pass weights to TRL's vLLM as a check does: TRL's own way rounds the base again at each step."""
    from finetop.core.models import vllm

    writes = trainer.vllm_generation
    writes.sync_weights = partial(vllm.hand_over, writes.llm, trainer.model, setup.base.path)


def vllm_values(setup: Setup) -> dict[str, Any]:
    """Return TRL's arguments for vLLM in this process: a second copy of the weights, and cache as for other engines."""
    from finetop.core.models import vllm
    from finetop.core.models.engine import CACHE_PER_TOKEN, at_once

    vllm.require_reach(setup.model.config, setup.device)
    options = setup.recipe.objective.options
    weights = sum(weight.numel() for weight in setup.model.parameters()) * 2
    held = at_once(setup.device) * CACHE_PER_TOKEN
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": setup.recipe.data.max_tokens + options.max_new_tokens,
        "vllm_gpu_memory_utilization": vllm.share_of(setup.device, weights + held),
    }


def reward_function(scorer: RewardSum, rows: Sequence[PromptExample]) -> Callable[..., list[float]]:
    """Return a reward function for TRL; the data set's column `row` indexes `rows`."""

    def reward(completions: Sequence[str], row: Sequence[int], log_metric: Any, **_: Any) -> list[float]:
        examples = [rows[number] for number in row]
        asked, right = [example.prompt for example in examples], [example.answer for example in examples]
        rewards = scorer.pay(asked, completions, right)
        for name, scores in rewards.parts.items():
            log_metric(f"part/{name}", fmean(scores))
        return rewards.total

    return reward


def _over_ids(trainer_class: Any, setup: Setup) -> Any:
    """Return a subclass that takes prompts as token ids and logs finetop's metrics."""

    # imported with torch, which listing the settings must not load
    from finetop.core.models import attention, engine
    from finetop.core.train import master

    gives_log_probs = "num_generations" in signature(trainer_class._generate_single_turn).parameters  # noqa: SLF001  # GRPO's

    class OverIds(trainer_class):  # type: ignore[misc]
        a_pass = 0  # tokens of the prompts and answers of this rollout

        def _prepare_inputs(self, batch: Any) -> Any:
            """Count the tokens of every pass: TRL counts only the first, in which the answers are generated."""
            before = self.state.num_input_tokens_seen
            begins = self.model.training and self._step % self.args.steps_per_generation == 0
            inputs = super()._prepare_inputs(batch)
            if begins and self.state.num_input_tokens_seen == before:
                self.state.num_input_tokens_seen += self.a_pass
                self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
            elif begins:
                self.a_pass = self.state.num_input_tokens_seen - before
            return inputs

        def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **named: Any) -> Any:
            """Generate with finetop's engine: TRL's continuous batching would keep the trained weights in 16 bits."""
            model = self.accelerator.unwrap_model(self.model_wrapped)
            if self.use_vllm or setup.engine == "exact":
                with attention.beside_training(model):
                    return super()._generate_single_turn(prompt_ids, *rest, **named)
            with master.as_written(model, setup.dtype, setup.engine):
                answers = engine.write(model, prompt_ids, self.generation_config, setup.engine)
            return (answers, None) if gives_log_probs else answers

        def _tokenize_prompts(self, prompts: Any) -> Any:
            return [list(ids) for ids in prompts], None, {}

        def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
            metrics = self._metrics["train" if self.model.training else "eval"]
            if metrics["kl"] and metrics["completions/mean_length"]:  # nats per token, and tokens per answer
                metrics["answer_kl"] = [fmean(metrics["kl"]) * fmean(metrics["completions/mean_length"])]
            if "eval_loss" in logs and metrics["reward"]:
                logs["eval_loss"] = -fmean(metrics["reward"])
            super().log(logs, *rest, **named)

    return OverIds
