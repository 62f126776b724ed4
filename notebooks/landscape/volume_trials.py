"""Shares of random networks below a target error: counted, by fitted laws, and by splitting; one table of all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from volume_bits import bits, bits_interval, errors, fitted_bits
from volume_classes import CLASSES, Prior, prior
from volume_splitting import pilot, split
from volume_tasks import PAIRS, Tasks, tasks

from workbench.errors import require
from workbench.seeds import key
from workbench.sweeps import Sweep

TARGETS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)  # share of wrong answers
HITS = 20  # a share is counted where so many networks reach the target
FIT = 0.1  # part of the networks that the laws are fitted to; the others are counted
RARE_PAIRS = ((0, 1), (3, 8), (4, 9))  # digits whose smallest shares are found by splitting
RARE_CLASSES = ("mlp", "cnn")


def histogram(law: Prior, drawn: Tasks, n_passes: int, rng: torch.Generator) -> np.ndarray:
    """Draw networks and count how many of their answers are wrong.

    Args:
        law: What they are drawn from.
        drawn: Tasks on the law's inputs.
        n_passes: Networks, each passed forward once.
        rng: Random numbers.

    Returns:
        How many networks have 0, 1, ... wrong answers, shape ``(n_tasks, n_examples + 1)``.
    """
    n, n_tasks = drawn.n_examples, len(drawn.labels)
    found = torch.zeros(n_tasks * (n + 1), dtype=torch.int64)
    first = torch.arange(n_tasks) * (n + 1)
    for start in range(0, n_passes, law.chunk):
        z = torch.randn(min(law.chunk, n_passes - start), law.D, generator=rng)
        found += torch.bincount((wrong(law, drawn.labels, z) + first).flatten(), minlength=len(found))
    return found.view(n_tasks, n + 1).numpy()


def wrong(law: Prior, labels: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return how many answers of each network are wrong in each task, shape ``(m, n_tasks)``, whole numbers."""
    agreement = (2 * law.positive(z).float() - 1) @ labels.T
    return ((labels.abs().sum(1) - agreement) / 2).round().long()


def tally(family: str, d: int, n: int, n_tasks: int, name: str, n_passes: int, seed: int) -> dict[str, Any]:
    """Draw networks of one class on one family's tasks; the trial, which a worker imports.

    Args:
        family: See ``volume_tasks.tasks``, for d, n and n_tasks too.
        d: Dimension.
        n: Examples or images of each digit.
        n_tasks: Teachers.
        name: The class.
        n_passes: Networks; a tenth of them are what laws are fitted to.
        seed: Of tasks and networks.

    Returns:
        ``names`` of the tasks, and ``histogram`` of the networks to fit to and of those to count.
    """
    drawn = tasks(family, d, n, n_tasks, seed)
    law, n_fit = prior(name, drawn.x), round(FIT * n_passes)
    rng = _rng(seed, "tally", family, d, name)
    parts = [histogram(law, drawn, count, rng) for count in (n_fit, n_passes - n_fit)]
    return {"names": list(drawn.names), "fit": parts[0].tolist(), "count": parts[1].tolist()}


def rare(
    family: str, d: int, n: int, n_tasks: int, name: str, task: int, n_particles: int, n_moves: int, seed: int
) -> dict[str, Any]:
    """Find the shares of one task at every target by splitting; the trial.

    Args:
        family: See ``volume_tasks.tasks``, for d, n and n_tasks too.
        d: Dimension.
        n: Examples or images of each digit.
        n_tasks: Teachers.
        name: The class.
        task: Which of the tasks.
        n_particles: Networks that go down together.
        n_moves: Steps of each inside a level.
        seed: Of tasks, pilot and run.

    Returns:
        ``task``, its name, and ``shares``, one a target; nan where the pilot came no further.
    """
    drawn = tasks(family, d, n, n_tasks, seed)
    used = drawn.labels[task] != 0
    law, labels = prior(name, drawn.x[used]), drawn.labels[task : task + 1, used]

    def score(z: torch.Tensor) -> torch.Tensor:
        return wrong(law, labels, z)[:, 0].float()

    goals = [float(errors(target, drawn.n_examples)) for target in TARGETS]
    names = (family, d, name, task)
    levels, sizes = pilot(score, law.D, goals, n_particles, n_moves, _rng(seed, "pilot", *names))
    shares = split(score, law.D, levels, sizes, n_particles, n_moves, _rng(seed, "rare", *names))
    found = dict(zip(levels, shares, strict=True))
    return {"task": drawn.names[task], "shares": [found.get(goal) for goal in goals]}


def rows(found: dict[str, Any], **of: Any) -> Iterator[dict[str, Any]]:
    """Yield a row a task and target of what one tally found; ``of`` stands in each."""
    for i, task in enumerate(found["names"]):
        fit, count = (np.array(found[part][i]) for part in ("fit", "count"))
        fit, both = fit + fit[::-1], count + count[::-1]
        n, passes = len(count) - 1, int(count.sum())
        for target in TARGETS:
            most = errors(target, n)
            hits = int(both[: most + 1].sum())
            low, high = bits_interval(np.array(hits), passes)
            row = of | {"task": task, "target": target, "examples": n, "draws": 2 * passes, "hits": hits}
            row |= {"bits": float(bits(np.array(hits), 2 * passes)), "low": float(low), "high": float(high)}
            yield row | fitted_bits(fit, most)


def volumes(
    report: Callable[[float], None] | None = None,
    *,
    sweep: Sweep,
    seeds: Sequence[int],
    n_draws: int,
    dimensions: Sequence[int],
    n_examples: int,
    n_teachers: int,
    n_per_digit: int,
    n_bits: int,
    n_particles: int,
    n_moves: int,
) -> pd.DataFrame:
    """Run the trials and gather what they found.

    Args:
        report: Called with the part that is done.
        sweep: Runs and keeps them.
        seeds: Replicates: other inputs, teachers, images, orders of pixels, networks.
        n_draws: Networks for each class and family of tasks; f and -f count as two and cost one forward pass.
        dimensions: Of the teachers' inputs.
        n_examples: Of each teacher.
        n_teachers: For each dimension and seed.
        n_per_digit: Images of each digit.
        n_bits: Dimension of the cube whose parities are asked for.
        n_particles: Of the splitting.
        n_moves: Steps inside a level of the splitting.

    Returns:
        A row for each family, dimension d, class, task, seed and target: examples, draws counted, hits, bits counted
        with their interval (low, high), bits by each fitted law (see ``fitted_bits``), and ``split``, bits by
        splitting, nan where there was none.

    Raises:
        InputError: If there is no seed, or draws are too few to fit and count.
    """
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    require(n_draws >= 200, "n_draws", "must be at least 200", n_draws, "a tenth of them are fitted to")
    sizes = {"teacher": n_examples, "digits": n_per_digit, "shuffled": n_per_digit, "parity": 0}
    shapes = [("teacher", d) for d in dimensions] + [("parity", n_bits), ("digits", 64), ("shuffled", 64)]
    cells: list[dict[str, Any]] = [
        {"family": family, "d": d, "n": sizes[family], "n_tasks": n_teachers, "name": name, "seed": seed}
        for seed in seeds
        for family, d in shapes
        for name in classes(family)
    ]
    rarely = [cell | {"task": task} for cell in cells for task in _rare_tasks(cell, dimensions)]
    tick = report or (lambda _: None)
    passes = {"n_passes": n_draws // 2}
    counted = sweep.map(tally, [cell | passes for cell in cells], lambda part: tick(0.7 * part))
    how = {"n_particles": n_particles, "n_moves": n_moves}
    small = sweep.map(rare, [cell | how for cell in rarely], lambda part: tick(0.7 + 0.3 * part))
    named = ("family", "d", "name", "seed")
    table = pd.DataFrame(
        row
        for cell, trial in zip(cells, counted, strict=True)
        for row in rows(trial.result, **{each: cell[each] for each in named})
    )
    splits = [
        {each: cell[each] for each in named} | {"task": trial.result["task"], "target": target, "split": _bits(share)}
        for cell, trial in zip(rarely, small, strict=True)
        for target, share in zip(TARGETS, trial.result["shares"], strict=True)
    ]
    return table.merge(pd.DataFrame(splits), how="left").rename(columns={"name": "class"})


def classes(family: str) -> tuple[str, ...]:
    """Return the classes that a family is asked of; the order of pixels is nothing to a kernel."""
    if family == "shuffled":
        return RARE_CLASSES
    return CLASSES if family == "digits" else tuple(each for each in CLASSES if each != "cnn")


def _rare_tasks(cell: dict[str, Any], dimensions: Sequence[int]) -> tuple[int, ...]:
    """Return which tasks of a cell are given to splitting: one teacher of three dimensions, three pairs of digits."""
    if cell["name"] not in RARE_CLASSES:
        return ()
    if cell["family"] == "digits":
        return tuple(PAIRS.index(pair) for pair in RARE_PAIRS)
    shown = {min(dimensions), sorted(dimensions)[len(dimensions) // 2], max(dimensions)}
    return (0,) if cell["family"] == "teacher" and cell["d"] in shown else ()


def _bits(share: float | None) -> float:
    """Return a share in bits; nan where there is none."""
    return -float(np.log2(share)) if share else float("nan")


def _rng(seed: int, *names: str | int) -> torch.Generator:
    """Return a named stream of torch's."""
    return torch.Generator().manual_seed(key(seed, "volume", *names) % 2**63)
