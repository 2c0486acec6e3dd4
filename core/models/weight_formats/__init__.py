"""Formats of the base's weights: a file each, found by listing this folder (`model.quantize`)."""

from __future__ import annotations

from typing import Any

from finetop.core.plugins import WEIGHT_FORMATS, PluginKind, WeightFormatFacts


class WeightFormat(WeightFormatFacts):
    """How the linear layers of a base are held; adapters train on all of them, unless a method says otherwise."""

    library = ""  # which packs the weights, and whose version is recorded
    linear_bytes: float | None = None  # of a weight, with its scales; None: those of model.dtype
    unpacked_bytes = 2.0  # of a weight of the layer that is worked on, which is written out
    keeps_inputs = False  # its layers keep what goes into them for the backward pass
    # its layers round what goes into them too: exports are compared with the base written out
    rounds_inputs = False
    by_tensor = False  # an export unpacks it tensor by tensor, by bitsandbytes' quant_state

    def config(self, dtype: Any) -> Any:
        """Return the quantization_config of transformers that loads it, to compute in torch's `dtype`."""
        raise NotImplementedError


KIND: PluginKind[WeightFormat] = WEIGHT_FORMATS.of(WeightFormat)
names, load = KIND.names, KIND.load
