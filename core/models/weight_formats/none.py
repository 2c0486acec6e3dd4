"""No quantization: the number format of model.dtype."""

from __future__ import annotations

from finetop.core.models.weight_formats import WeightFormat


class Unquantized(WeightFormat):
    about = "the number format of model.dtype"


PLUGIN = Unquantized()
