"""The bootstrap of the top eigenvalue over examples."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.probes.test_landscape import build, draw
from workbench.errors import InputError
from workbench.objective import Supervised
from workbench.probes import bootstrap_eigenvalue, top_eigenpairs


def test_its_spread_is_that_of_the_examples():
    """One coordinate: the eigenvalue is twice a mean of squares, whose standard error is known."""
    x = draw(1, 400, 1)
    objective = Supervised(nn.Linear(1, 1, bias=False), (x, x), loss="squared_error", dtype=torch.float64)
    found = bootstrap_eigenvalue(objective, objective.theta_0, n_resamples=200)
    assert found.value == pytest.approx(2 * float(x.square().mean()))
    assert found.resampled.std() == pytest.approx(2 * float(x.square().std()) / 20, rel=0.15)
    assert found.low < found.value < found.high
    assert found.n_examples == 400


def test_some_examples_are_not_all():
    objective, point = build("mlp")
    few = bootstrap_eigenvalue(objective, point, n_examples=4, n_resamples=3, seed=2)
    assert few.n_examples == 4
    assert few.value == pytest.approx(top_eigenpairs(objective, point, 1, 1e-3, n_examples=4, seed=2).values[0])
    assert len(np.unique(few.resampled)) > 1
    with pytest.raises(InputError, match="n_resamples must be at least 2, got 1"):
        bootstrap_eigenvalue(objective, point, n_resamples=1)
