"""NF4 by bitsandbytes (arXiv:2305.14314): 4 bits and a scale for 64 of them, the scales in 8 bits too."""

from __future__ import annotations

from typing import Any

from finetop.core.models.weight_formats import WeightFormat


class Nf4(WeightFormat):
    about = "4 bits a weight, of a normal distribution's quantiles"
    bits = 4
    library = "bitsandbytes"
    linear_bytes = 0.5 + 1 / 64 + 4 / (64 * 256)  # a second scale, in float32, for 256 of the scales
    by_tensor = True

    def config(self, dtype: Any) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )


PLUGIN = Nf4()
