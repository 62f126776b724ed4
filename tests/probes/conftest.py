"""Networks that torch itself initialises are the same in every run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Seed torch's generator."""
    torch.manual_seed(0)
