"""What several tests of a job's surroundings need."""

import pytest
from fake_nvml import Cards


@pytest.fixture
def cards(tmp_path):
    """Two GPUs of a fake NVML."""
    return Cards(tmp_path / "nvml.json")
