"""The report of `make gpu` on the pretended GPU, small: each of its rows is measured, whatever it measures.

python pretended_report.py PAGE
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Measure everything in a few steps of a small model, and write the page."""
    import pretended_gpu

    pretended_gpu.install()
    tests = Path(__file__).parents[1]
    sys.path[:0] = [str(tests), str(tests / "bench"), str(tests / "faults")]
    import gpu_report
    import wide_model

    real = wide_model.wide_model
    wide_model.wide_model = lambda folder, tiny, **_: real(folder, tiny, hidden=128, layers=2)
    gpu_report.STEPS, gpu_report.LATE, gpu_report.TOKENS, gpu_report.ROWS = 4, 1, 64, 32
    sys.argv[1:] = ["--to", sys.argv[1]]
    return gpu_report.main()


if __name__ == "__main__":
    sys.exit(main())
