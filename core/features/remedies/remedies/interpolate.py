"""Weights between the base and the tuned model: w0 + strength * (w - w0).

For a full model tensor by tensor (WiSE-FT, arXiv:2109.01903); for an adapter that adds a scaled update, by its scale,
which leaves base and adapter as they are; for any other that can be merged, as for a full model. Weights are mixed in
float32 and rounded once, to the format that the model computes in. In bfloat16 this loses a small part of a small
update: at a twentieth of 20 steps of SmolLM2-135M at rate 2e-3, 54 % of the weights that had moved equal the base's
again, and what is left along the update is 0.81 of what was intended. The model as rounded is scored, confirmed and
exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.features.remedies.messages import Candidate
from finetop.core.features.remedies.remedies import Remedy, Subject
from finetop.core.models.resolved import ResolvedModel

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.check.model_pair import Change

SCALED = ("LORA", "ADALORA", "LOHA", "LOKR")  # PEFT's types
# Settings of PEFT with which the scale is not everything: a separate magnitude (DoRA), replaced weights.
NOT_ALONE = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
)
STRENGTHS = {
    0.75: "3/4 of the change",
    0.5: "half-way to the base",
    0.25: "1/4 of the change",
    0.1: "1/10 of the change",
    0.05: "1/20 of the change",
}


class Interpolate(Remedy):
    about = "interpolates between the base's and the tuned model's weights, at several strengths"
    cost = "reading the base's weights once; nothing where an adapter has a scale"
    most = 5

    def candidates(self, subject: Subject) -> list[Candidate]:
        """Return five strengths, the strongest first."""
        why_not = "" if subject.scales else subject.no_weights
        return [
            Candidate(
                f"interpolate-{strength}", "interpolate", label, subject.step, {"strength": strength}, why_not
            )
            for strength, label in STRENGTHS.items()
        ]

    def change(self, candidate: Candidate, base: ResolvedModel, checkpoint: Path) -> Change:
        from finetop.core.check.model_pair import Change
        from finetop.core.features.remedies.weights import changed

        strength = float(candidate.settings["strength"])
        facts = {"name": "interpolate", "strength": strength}
        if has_scale(checkpoint):
            return Change(facts, False, lambda model: scaled(model, strength))

        def mix(name: str, before: Tensor, after: Tensor) -> Any:
            return before.lerp(after, strength)

        return Change(facts, True, lambda model: changed(model, base, mix))


def has_scale(folder: Path) -> bool:
    """Return True if a checkpoint is an adapter whose update of the weights is proportional to its scale."""
    from finetop.core.models.load import adapter_config

    config = adapter_config(folder)
    is_alone = not any(config.get(key) for key in NOT_ALONE) and config.get("bias") in (None, "none")
    return config.get("peft_type") in SCALED and is_alone


def scaled(model: Any, strength: float) -> Any:
    """Scale a loaded adapter's update of the weights; base and adapter stay as they are. Raises FinetopError."""
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lycoris_utils import LycorisLayer

    scales = 0
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer | LycorisLayer):
            continue
        if getattr(layer, "lora_variant", None):
            raise FinetopError(f"{name}: the change of this adapter is not proportional to its scale.")
        for adapter in layer.active_adapters:
            layer.scaling[adapter] *= strength
            scales += 1
    if not scales:
        raise FinetopError("no layer of this adapter has a scale.")
    return model


PLUGIN = Interpolate()
