"""A masked network in one compressed file: whole, small, refused where it does not fit."""

import numpy as np
import pytest
import torch

from workbench.errors import DataError, InputError
from workbench.layout import Point
from workbench.models import mlp, small_cnn
from workbench.objective import Supervised
from workbench.pruning import export, load_export, prunable, select
from workbench.pruning.scores import magnitude


def problem(network, shape, dtype=torch.float32):
    return Supervised(network, (torch.randn(2, *shape), torch.zeros(2, dtype=torch.long)), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("density", [0.01, 0.5, 1])
def test_a_network_comes_back_with_its_mask_and_buffers(density, dtype, tmp_path):
    objective = problem(small_cnn(width=4), (1, 8, 8), dtype)
    layout, point = objective.layout, objective.recalibrated(objective.theta_0)
    mask = select(magnitude(point.theta), density, prunable=prunable(layout), layout=layout)
    size = export(tmp_path / "network.npz", layout, point, mask)
    assert size == (tmp_path / "network.npz").stat().st_size
    found, found_mask = load_export(tmp_path / "network.npz", layout)
    assert torch.equal(found_mask, mask)
    assert torch.equal(found.theta, point.theta * mask)  # zero where pruned, whatever theta held there
    assert found.theta.dtype == dtype
    assert found.buffers.keys() == point.buffers.keys()
    assert all(torch.equal(found.buffers[name], value) for name, value in point.buffers.items())
    assert torch.equal(
        objective.logits(found, "train"), objective.logits(Point(point.theta * mask, point.buffers), "train")
    )


def test_a_file_is_as_small_as_its_bits(tmp_path):
    objective = problem(mlp([784, 300, 100, 10]), (784,))
    layout = objective.layout
    sizes = {}
    for density in (1, 0.1, 0.01):
        mask = select(magnitude(objective.theta_0), density, prunable=prunable(layout), layout=layout)
        sizes[density] = export(tmp_path / "network.npz", layout, Point(objective.theta_0, {}), mask)
        assert sizes[density] < 4 * int(mask.sum()) + objective.D / 8 + 2000  # kept values, a bit each, the zip's names
    assert sizes[0.01] < sizes[0.1] / 5 < sizes[1] / 30


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    objective, other = problem(mlp([4, 3, 2]), (4,)), problem(mlp([4, 2, 3]), (4,))
    mask, path = torch.ones(objective.D, dtype=torch.bool), tmp_path / "network.npz"
    export(path, objective.layout, Point(objective.theta_0, {}), mask)
    with pytest.raises(
        DataError, match=r"network.npz must hold the network whose layout was given, but holds \{'1.weight'"
    ):
        load_export(path, other.layout)
    with np.load(path) as whole:
        arrays = dict(whole)
    np.savez(path, **(arrays | {"kept": arrays["kept"][1:]}))
    with pytest.raises(DataError, match="must hold the network whose layout was given"):
        load_export(path, objective.layout)
    path.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="must be a checkpoint of arrays"):
        load_export(path, objective.layout)
    with pytest.raises(DataError, match="must be a checkpoint of arrays"):
        load_export(tmp_path / "none.npz", objective.layout)
    with pytest.raises(InputError, match=r"mask must have shape \(23,\), got \(3,\)"):
        export(path, objective.layout, Point(objective.theta_0, {}), mask[:3])


def test_a_failed_export_leaves_the_earlier_file(tmp_path, monkeypatch):
    objective, path = problem(mlp([4, 3, 2]), (4,)), tmp_path / "network.npz"
    mask = torch.ones(objective.D, dtype=torch.bool)
    export(path, objective.layout, Point(objective.theta_0, {}), mask)
    before = path.read_bytes()

    def broken(file, **arrays):
        file.write(b"half")
        raise RuntimeError

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(RuntimeError):
        export(path, objective.layout, Point(objective.theta_0, {}), mask)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
