"""CartPole inside a random subspace: an evolution strategy on phi in theta = theta_0 + P phi.

Stands in for Li et al.'s InvertedPendulum, whose simulator is not free of heavy dependencies; the policy has the same
number of parameters, 562. All dimensions of one seed advance together in one vectorised environment, each with random
streams of its own, so a dimension's result does not depend on which others are searched beside it.
"""

from typing import Any

import numpy as np
import torch
from returns import CartPole

from workbench.coordinates import Subspace, projection
from workbench.errors import is_count, require
from workbench.seeds import generator


class EvolutionStrategy:
    """Maximise a noisy function of R^d by (mu/mu_w, lambda)-CMA-ES with its default settings.

    Args:
        d: Dimension.
        sigma: First step size, in R^d.
        population: Candidates of a generation (lambda).
        stream: Randomness of the candidates.

    References:
        Hansen (2016), "The CMA evolution strategy: a tutorial", arXiv 1604.00772, figure 6 and table 1; the
        covariance's negative weights are left out.
    """

    def __init__(self, d: int, sigma: float, population: int, stream: np.random.Generator) -> None:
        self.mean, self.sigma, self.population, self.stream = np.zeros(d), sigma, population, stream
        self.covariance, self.path_sigma, self.path_c = np.eye(d), np.zeros(d), np.zeros(d)
        raw = np.log((population + 1) / 2) - np.log(np.arange(1, population // 2 + 1))
        self.weights = raw / raw.sum()
        n = self.n_effective = 1.0 / float((self.weights**2).sum())
        self.c_sigma = (n + 2) / (d + n + 5)
        self.damping = 1 + 2 * max(0.0, np.sqrt((n - 1) / (d + 1)) - 1) + self.c_sigma
        self.c_c = (4 + n / d) / (d + 4 + 2 * n / d)
        self.c_1 = 2 / ((d + 1.3) ** 2 + n)
        self.c_mu = min(1 - self.c_1, 2 * (n - 1.75 + 1 / n) / ((d + 2) ** 2 + n))
        self.expected_norm = np.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
        self.generation = 0

    def ask(self) -> np.ndarray:
        """Draw this generation's candidates, shape (population, d)."""
        variances, self._basis = np.linalg.eigh(self.covariance)
        self._scales = np.sqrt(np.maximum(variances, 1e-20))
        draws = self.stream.standard_normal((self.population, len(self.mean)))
        self._steps = (draws * self._scales) @ self._basis.T
        return self.mean + self.sigma * self._steps

    def tell(self, values: np.ndarray) -> None:
        """Move mean, step size and covariance towards the better half; larger values are better."""
        # A stable sort keeps equal candidates in their random order: selection among equals is then unbiased.
        best = self._steps[np.argsort(-values, kind="stable")[: len(self.weights)]]
        step = self.weights @ best
        self.mean = self.mean + self.sigma * step
        whitened = self._basis @ ((self._basis.T @ step) / self._scales)
        keep = 1 - self.c_sigma
        self.path_sigma = (
            keep * self.path_sigma + np.sqrt(self.c_sigma * (2 - self.c_sigma) * self.n_effective) * whitened
        )
        self.generation += 1
        norm = float(np.linalg.norm(self.path_sigma)) / self.expected_norm
        # The rank-one path stalls while the step size is still growing fast (the tutorial's h_sigma).
        moving = norm / np.sqrt(1 - keep ** (2 * self.generation)) < 1.4 + 2 / (len(self.mean) + 1)
        self.path_c = (1 - self.c_c) * self.path_c
        self.path_c += moving * np.sqrt(self.c_c * (2 - self.c_c) * self.n_effective) * step
        lost = 0.0 if moving else self.c_c * (2 - self.c_c)
        self.covariance = (
            (1 - self.c_1 * (1 - lost) - self.c_mu) * self.covariance
            + self.c_1 * np.outer(self.path_c, self.path_c)
            + self.c_mu * (best.T * self.weights) @ best
        )
        self.sigma *= float(np.exp(min(1.0, self.c_sigma / self.damping * (norm - 1))))


class Search:
    """The search of one dimension: its subspace, its strategy, what it has used and the best policy found.

    Args:
        objective: The task.
        d: Dimension of the subspace.
        seed: Of projection, candidates and episodes; every dimension has its own streams.
        kind: Projection.
        population: Candidates of a generation.
    """

    def __init__(self, objective: CartPole, d: int, seed: int, kind: str, population: int) -> None:
        self.objective, self.d, self.seed, self.population = objective, d, seed, population
        self.subspace = Subspace(
            objective.theta_0, projection(kind, objective.D, d, seed, "cartpole", dtype=objective.theta_0.dtype)
        )
        self.stopped, self.generation, self.n_episodes, self.score = False, 0, 0, (-1.0, -1.0)
        self.theta = objective.theta_0.numpy()
        self.restart()

    def restart(self) -> None:
        """Start again from theta_0 with new candidates: the strategy is a local search and may be stuck."""
        # P has columns of norm one, so the first candidates lie about |theta_0| away from theta_0 whatever d.
        sigma = float(self.objective.theta_0.norm()) / np.sqrt(self.d)
        stream = generator(self.seed, "cartpole", "candidates", self.d, self.generation)
        self.strategy = EvolutionStrategy(self.d, sigma, self.population, stream)

    def propose(self) -> np.ndarray:
        """Return this generation's policies, shape (population + 1, D); the last is the mean of the others' law."""
        candidates = np.vstack([self.strategy.ask(), self.strategy.mean])
        phi = torch.from_numpy(candidates).to(self.objective.theta_0.dtype)
        self.thetas = np.stack([self.subspace.push(row, torch.empty(self.objective.D)).numpy() for row in phi])
        return self.thetas

    def starts(self, purpose: str, n_episodes: int) -> np.ndarray:
        """Return the fresh starts of this purpose and generation, shape (1, n_episodes, 4)."""
        return self.objective.starts(1, n_episodes, generator(self.seed, "cartpole", purpose, self.d, self.generation))

    def advance(self, returns: np.ndarray, restart_every: int) -> None:
        """Learn from the candidates' returns, shape (population + 1, n_episodes)."""
        self.strategy.tell(returns[:-1].mean(axis=1))
        self.generation += 1
        if self.generation % restart_every == 0:
            self.restart()

    def consider(self, training: np.ndarray, validation: np.ndarray | None) -> None:
        """Keep this generation's mean policy if it is the best so far, validated ones first; stop if it is solved."""
        self.n_episodes += 0 if validation is None else validation.size
        score = (-1.0 if validation is None else float(validation.mean()), float(training.mean()))
        if score > self.score:
            self.score, self.theta = score, self.thetas[-1]
        if validation is not None:
            mean, error = _mean_and_error(validation)
            # The same policy has yet to pass on other episodes, so a bare pass here is not enough.
            self.stopped = mean - 2 * error >= CartPole.solved_at


def cartpole_trial(
    dims: list[int],
    seed: int,
    max_generations: int = 120,
    *,
    hidden: tuple[int, ...] = (20, 20),
    kind: str = "dense",
    population: int = 16,
    n_train: int = 8,
    n_validation: int = 100,
    n_test: int = 100,
    restart_every: int = 40,
) -> dict[str, Any]:
    """Search subspaces of CartPole policies, every dimension with the same budget, and test each result once.

    A search ends when its mean policy passes 475 on validation episodes with two standard errors to spare, or with the
    budget. Its best policy then plays ``n_test`` episodes that nothing has seen; a mean return of 475 counts as solved.

    Args:
        dims: Dimensions, each in 1..D.
        seed: Of everything: initialisation, projections, candidates, episodes.
        max_generations: Budget of each dimension; with 120, ten other seeds (100 to 109) all solved every d from 11 on.
        hidden: Widths of the policy.
        kind: Projection.
        population: Candidates of a generation.
        n_train: Episodes of each candidate; candidates of a generation share their starts.
        n_validation: Episodes of each check.
        n_test: Episodes of each final test, and of theta_0's.
        restart_every: Generations after which an unsolved search starts again.

    Returns:
        ``D``, ``seed``, ``theta_0_return`` (mean return of the untrained policy), and ``dims``, one dictionary per
        dimension with ``d``, ``solved``, ``mean_return``, ``standard_error``, ``generations``, ``episodes``.
        Everything can be written as JSON.

    Raises:
        InputError: If ``dims`` is empty or a value is outside its range.
    """
    require(len(dims) > 0, "dims", "must hold at least one dimension", dims)
    least = {"max_generations": 1, "population": 4, "n_validation": 2, "n_test": 2, "restart_every": 1}
    for (name, n), value in zip(
        least.items(), (max_generations, population, n_validation, n_test, restart_every), strict=True
    ):
        require(is_count(value, n), name, f"must be at least {n}", value)
    objective = CartPole(hidden, seed=seed)
    searches = [Search(objective, d, seed, kind, population) for d in dims]
    for _ in range(max_generations):
        active = [search for search in searches if not search.stopped]
        if not active:
            break
        _generation(active, n_train, n_validation, restart_every)
    tests = _together(searches, [search.theta[None] for search in searches], "test", n_test)
    theta_0 = objective.theta_0.numpy()[None]
    origin = objective.returns(theta_0, n_test, generator(seed, "cartpole", "theta_0"))
    return {
        "D": objective.D,
        "seed": seed,
        "theta_0_return": float(origin.mean()),
        "dims": [_result(search, returns) for search, returns in zip(searches, tests, strict=True)],
    }


def _generation(active: list[Search], n_train: int, n_validation: int, restart_every: int) -> None:
    """Advance all unsolved searches by one generation, together."""
    returns = _together(active, [search.propose() for search in active], "train", n_train)
    passing = [s for s, rows in zip(active, returns, strict=True) if rows[-1].mean() >= CartPole.solved_at]
    checks = _together(passing, [search.thetas[-1:] for search in passing], "validation", n_validation)
    validated = dict(zip((search.d for search in passing), checks, strict=True))
    for search, rows in zip(active, returns, strict=True):
        search.n_episodes += rows.size
        search.consider(rows[-1], validated.get(search.d))
        search.advance(rows, restart_every)


def _together(searches: list[Search], thetas: list[np.ndarray], purpose: str, n_episodes: int) -> list[np.ndarray]:
    """Return every search's returns, evaluated in one environment; the policies of a search share their starts."""
    if not searches:
        return []
    n = [len(theta) for theta in thetas]
    starts = [np.repeat(s.starts(purpose, n_episodes), k, axis=0) for s, k in zip(searches, n, strict=True)]
    returns = searches[0].objective.returns_from(np.concatenate(thetas), np.concatenate(starts))
    return np.split(returns, np.cumsum(n)[:-1])


def _mean_and_error(returns: np.ndarray) -> tuple[float, float]:
    """Return the mean over episodes and its standard error."""
    return float(returns.mean()), float(returns.std(ddof=1) / np.sqrt(returns.size))


def _result(search: Search, returns: np.ndarray) -> dict[str, Any]:
    """Return what one dimension reached on its test episodes, and what it used."""
    mean, error = _mean_and_error(returns)
    return {
        "d": search.d,
        "solved": mean >= CartPole.solved_at,
        "mean_return": mean,
        "standard_error": error,
        "generations": search.generation,
        "episodes": search.n_episodes,
    }
