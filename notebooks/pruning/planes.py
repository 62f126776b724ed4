"""The temperature x load plane: its trials run side by side, what they found, and resamples of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from plane_trials import objective_of, train_column, train_small, try_rate
from pruned import unpack
from scipy.stats import rankdata

from workbench import pruning
from workbench.seeds import generator
from workbench.sweeps import Sweep

N_DRAWS = 1000  # resamples of seeds and images


class Draws(NamedTuple):
    """What resampling seeds and test images gives, each of shape ``(n_draws, n_temperatures, n_densities)``."""

    error: np.ndarray
    lmc: np.ndarray
    cka: np.ndarray


@dataclass(frozen=True)
class Plane:
    """Measurements over temperature and density; temperatures rise along the second axis, densities along the third.

    Attributes:
        wrong: Share of copies that have a test image wrong, shape ``(n_seeds, n_temperatures, n_densities, n)``.
        dense: Whether the dense network has, shape ``(n_seeds, n_temperatures, n)``.
        lmc: In nats, shape ``(n_seeds, n_temperatures, n_densities)``, as ``cka`` and ``eigenvalue``.
        losses: On the segment, shape ``(..., n_points)``; ``histogram`` likewise, by bin.
    """

    dataset: str
    knob: str
    noise: float
    temperatures: tuple[int, ...]  # values of the knob
    densities: tuple[float, ...]
    seeds: tuple[int, ...]
    wrong: np.ndarray
    dense: np.ndarray
    lmc: np.ndarray
    cka: np.ndarray
    eigenvalue: np.ndarray
    losses: np.ndarray
    histogram: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Mean test error, shape ``(n_temperatures, n_densities)``."""
        return np.asarray(self.wrong.mean(axis=(0, 3)))

    def name(self, value: int) -> str:
        """Return a temperature in words."""
        return f"batch {value}" if self.knob == "batch_size" else f"{value} epochs"

    def spearman(self, error: np.ndarray) -> np.ndarray:
        """Return the rank correlation of temperature and error, shape ``(..., n_densities)``; 0 if errors agree."""
        ranks = rankdata(error, axis=-2) - (len(self.temperatures) + 1) / 2
        t = np.arange(len(self.temperatures)) - (len(self.temperatures) - 1) / 2
        size = np.sqrt((ranks**2).sum(axis=-2) * (t**2).sum())
        return np.asarray((ranks * t[:, None]).sum(axis=-2) / np.where(size == 0, 1, size))

    @cached_property
    def draws(self) -> Draws:
        """Resample seeds and test images, each with replacement and apart (Owen 2007, the pigeonhole bootstrap)."""
        n_seeds, n = len(self.wrong), self.wrong.shape[3]
        rng = generator(0, "three regimes", "draws")
        seeds = rng.multinomial(n_seeds, [1 / n_seeds] * n_seeds, N_DRAWS) / n_seeds
        images = rng.multinomial(n, [1 / n] * n, N_DRAWS) / n
        wrong = np.einsum("stkn,dn->dstk", self.wrong, images, optimize=True)
        error = np.einsum("ds,dstk->dtk", seeds, wrong)
        lmc, cka = (np.einsum("ds,stk->dtk", seeds, each) for each in (self.lmc, self.cka))
        return Draws(error, lmc, cka)


def choose_rate(sweep: Sweep, rates: Sequence[float], **trial: Any) -> float:
    """Return the rate of least validation loss of the dense network; one is not tried."""
    if len(rates) == 1:
        return rates[0]
    found = sweep.map(try_rate, [trial | {"lr": lr} for lr in rates])
    losses = [each.result["validation"] for each in found]
    return min(zip(rates, losses, strict=True), key=lambda pair: np.inf if pair[1] is None else pair[1])[0]


def measure_small(sweep: Sweep, seeds: Sequence[int], width: int, **trial: Any) -> dict[float, list[float]]:
    """Return the test errors of every narrower network, one a seed, by its share of the wide one's weights."""
    widths = sorted({max(1, round(width * part)) for part in (0.2, 0.35, 0.5, 0.65)} - {width})
    wide = objective_of(trial["dataset"], trial["n_train"], width, 0.0, 0)
    whole = int(pruning.prunable(wide.layout).sum())
    found = sweep.map(train_small, [trial | {"width": w, "seed": s} for w in widths for s in seeds])
    errors: dict[float, list[float]] = {}
    for each in found:
        errors.setdefault(each.result["weights"] / whole, []).append(1 - float(unpack(each.result["right"]).mean()))
    return errors


def measure_plane(
    sweep: Sweep,
    seeds: Sequence[int],
    temperatures: Sequence[int],
    densities: Sequence[float],
    tick: Callable[[float], None] | None = None,
    **trial: Any,
) -> Plane:
    """Run the trials of every temperature and seed.

    Args:
        sweep: Runs and keeps them.
        seeds: Replicates.
        temperatures: Values of the knob, in any order.
        densities: Kept shares, in any order.
        tick: Called with the part that is done.
        trial: Further parameters of ``train_column``.

    Returns:
        The plane.
    """
    values, shares = tuple(sorted(temperatures, reverse=True)), tuple(sorted(densities))
    asked = [trial | {"seed": s, "value": v, "densities": list(shares)} for s in seeds for v in values]
    columns = [each.result for each in sweep.map(train_column, asked, tick)]

    def stack(read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
        found = np.array([[read(cell) for cell in column["cells"]] for column in columns])
        return found.reshape(len(seeds), len(values), *found.shape[1:])

    dense = np.array([1 - unpack(column["dense"]) for column in columns]).reshape(len(seeds), len(values), -1)
    wrong = stack(lambda cell: 1 - np.mean([unpack(each) for each in cell["right"]], axis=0))
    lmc, cka, eigenvalue = (stack(itemgetter(name)) for name in ("lmc", "cka", "eigenvalue"))
    named: dict[str, Any] = {name: trial[name] for name in ("dataset", "knob", "noise")}
    named |= {"temperatures": values, "densities": shares, "seeds": tuple(seeds)}
    losses, histogram = (stack(itemgetter(name)) for name in ("losses", "histogram"))
    return Plane(**named, wrong=wrong, dense=dense, lmc=lmc, cka=cka, eigenvalue=eigenvalue, losses=losses,
                 histogram=histogram)  # fmt: skip
