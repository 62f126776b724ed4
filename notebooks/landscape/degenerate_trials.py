"""Trials on trained networks: effective parameters beside the learning coefficient, two modules beside one network."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize
from torch import Tensor

import workbench
from workbench import probes
from workbench.datasets import Dataset
from workbench.errors import require, require_choice
from workbench.objective import Supervised
from workbench.seeds import generator

TASKS = ("addition", "digits")
WIDTHS = {"addition": (8, 12, 16, 24), "digits": (8, 10, 12, 16)}
DECAYS = (0.0, 1e-4, 1e-3)
MODULUS = 7
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-6)  # of ranks, relative to the largest singular value; the rule's is RULE
RULE = 1e-2
HEAT, PRIOR = 1e4, 300.0  # n times the inverse temperature at targets of variance 1 in all; the prior's precision
CHAINS = {"n_chains": 4, "n_leapfrog": 14}
INPUTS, HIDDEN, OUTPUTS, TEACHER = 6, 8, 2, 4  # of the task of two modules, half of each to a module
EQUAL = 1e-4  # loss over the targets' variance at which both solutions stop
STARTS = 5  # starts of which one must get there


@functools.cache
def images() -> Dataset:
    """Load the digits, once per process."""
    return workbench.load("digits")


def examples(task: str, n_examples: int) -> tuple[Tensor, Tensor]:
    """Return inputs and one-hot targets: all pairs of residues and their sum, or the first images."""
    require_choice("task", task, TASKS)
    if task == "addition":
        a, b = np.divmod(np.arange(MODULUS**2), MODULUS)
        one = torch.eye(MODULUS)
        return torch.cat([one[a], one[b]], 1), one[(a + b) % MODULUS]
    train = images().train
    return train.x[:n_examples].flatten(1), torch.eye(10)[train.y[:n_examples]]


def trained(task: str, n_examples: int, width: int, decay: float, n_steps: int, seed: int) -> tuple[Supervised, Tensor]:
    """Train a network of one hidden layer on the squared error of one-hot targets; return the loss and theta."""
    x, y = examples(task, n_examples)
    objective = Supervised(workbench.mlp([x.shape[1], width, y.shape[1]], seed), (x, y), loss="squared_error")
    recipe = workbench.Recipe(n_steps, 3e-3, "adam", weight_decay=decay, batch_size=None)
    found = workbench.train(objective, workbench.Full(objective.theta_0), recipe, seed, eval_splits=("train",))
    return objective, found.phi


def behavioural(objective: Supervised, theta: Tensor) -> Supervised:
    """Return the squared error to the outputs at theta, which is its minimum, zero, whatever theta is.

    Bushnaq et al. 2024, section 2.2: the loss that says which parameters make the same function.
    """
    x = torch.cat([x for x, _ in objective.splits["train"].chunks(objective.chunk_size)])
    targets = objective.logits(theta, "train")
    return Supervised(objective.model, (x, targets), loss="squared_error", dtype=objective.dtype)


def coefficient(
    objective: Supervised, theta: Tensor, n_draws: int, seed: int, variance: float = 1.0, n_tries: int = 1
) -> probes.LearningCoefficient:
    """Estimate the learning coefficient of the behavioural loss at theta, in units of the targets' variance.

    Args:
        objective: With the examples.
        theta: The point, shape ``(D,)``.
        n_draws: Proposals of each chain.
        seed: Of the chains.
        variance: Of the targets, summed over outputs.
        n_tries: Times in all; what is refused is tried again with twice the proposals.

    Returns:
        The last estimate.
    """
    heat, loss = HEAT / variance / len(objective.splits["train"]), behavioural(objective, theta)
    for k in range(n_tries):
        n = n_draws * 2**k
        settings = {**CHAINS, "n_steps": n, "n_burn": n * 7 // 20}
        found = probes.learning_coefficient(loss, theta, beta=heat, prior=PRIOR, seed=seed + k, **settings)
        if found.refused is None:
            break
    return found


def soft_count(found: probes.Degeneracy) -> float:
    """Return how many directions a temperature can tell, by products of the layers' spectra.

    ``sum h / (h + PRIOR / HEAT)`` over ``h = 2 (s_a s_g / n)^2``, the curvatures of the squared error where activations
    and gradients are independent; half of it is what the learning coefficient would then be.
    """
    h = 2 * (found.spectra[:, 0, :, None] * found.spectra[:, 1, None, :] / found.n_examples) ** 2
    return float(np.nansum(h / (h + PRIOR / HEAT)))


def count_trial(
    task: str, n_examples: int, width: int, decay: float, n_steps: int, n_draws: int, seed: int
) -> dict[str, Any]:
    """Count a trained network's effective parameters and estimate its learning coefficient; the trial.

    Args:
        task: Of ``TASKS``.
        n_examples: Images; modular addition has all pairs.
        width: Hidden units.
        decay: Of the weights, in training.
        n_steps: Steps of training.
        n_draws: Proposals of each chain.
        seed: Start of training and of the chains.

    Returns:
        ``D``, training loss and accuracy, ``effective`` by tolerance, ``soft``, ``value`` (None where refused),
        ``interval``, ``refused``, ``by_arm``, R-hat, acceptance and the first arm's ``trace``.
    """
    objective, theta = trained(task, n_examples, width, decay, n_steps, seed)
    y = torch.cat([y for _, y in objective.splits["train"].chunks(1000)])
    right = float((objective.logits(theta, "train").argmax(1) == y.argmax(1)).double().mean())
    ranks = {each: probes.degeneracy(objective, theta, tolerance=each) for each in TOLERANCES}
    counts = {f"{each:g}": int(found.effective.sum()) for each, found in ranks.items()}
    found = coefficient(objective, theta, n_draws, seed)
    return {
        "task": task, "width": width, "decay": decay, "seed": seed, "D": objective.D, "loss": objective.loss(theta),
        "accuracy": right, "effective": counts, "soft": soft_count(ranks[RULE]), **_said(found),
        "trace": found.trace[0].round(6).tolist(),
    }  # fmt: skip


def _said(found: probes.LearningCoefficient) -> dict[str, Any]:
    """Return what JSON holds of an estimate; a refused value is None."""
    kept = found.refused is None
    return {
        "value": found.value if kept else None, "interval": list(found.interval) if kept else None,
        "refused": found.refused, "by_arm": found.by_arm.tolist(), "r_hat": found.r_hat.tolist(),
        "acceptance": found.acceptance.tolist(),
    }  # fmt: skip


def two_modules(n_examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of two tasks side by side, each a ReLU network's on its own inputs; unit variance."""
    rng, half = generator(seed, "two modules"), INPUTS // 2
    x, y = rng.standard_normal((n_examples, INPUTS)), []
    for part in (x[:, :half], x[:, half:]):
        first = rng.standard_normal((half, TEACHER // 2)) / np.sqrt(half)
        y.append(np.maximum(part @ first, 0) @ rng.standard_normal((TEACHER // 2, OUTPUTS // 2)))
    targets = np.concatenate(y, axis=1)
    targets = (targets - targets.mean(0)) / targets.std(0)
    return torch.from_numpy(x).float(), torch.from_numpy(targets).float()


def modular_mask(objective: Supervised) -> Tensor:
    """Return which parameters join units of one module, of the first or the second half of every layer."""
    parts = []
    for view in objective.layout.views(torch.ones(objective.D)).values():
        kept = torch.ones(view.shape, dtype=torch.bool)
        if view.ndim == 2:
            rows, columns = (torch.arange(n) < n // 2 for n in view.shape)
            kept = rows[:, None] == columns
        parts.append(kept.flatten())
    return torch.cat(parts)


def fitted(objective: Supervised, theta: Tensor, mask: Tensor, n_steps: int, goal: float) -> Tensor:
    """Minimise the loss over the parameters of a mask by L-BFGS, the others zero, until it is at most a goal."""
    held, batch = mask.double().numpy(), objective.train_batch(None)

    def value(phi: np.ndarray) -> tuple[float, np.ndarray]:
        objective.set_point(torch.from_numpy(phi).to(objective.dtype))
        return float(objective.backward(*batch)), objective.grad.double().numpy() * held

    def stop(intermediate_result: Any) -> None:
        if intermediate_result.fun <= goal:
            raise StopIteration

    options = {"maxiter": n_steps, "maxcor": 20, "ftol": 0, "gtol": 0}
    start = theta.double().numpy() * held
    found = minimize(value, start, jac=True, method="L-BFGS-B", callback=stop, options=options)
    return torch.from_numpy(found.x).to(objective.dtype)


def pair_trial(n_examples: int, n_steps: int, n_draws: int, seed: int) -> dict[str, Any]:
    """Train a network of two modules and one without to one loss; estimate both learning coefficients; the trial.

    Both live in the space of all parameters of the full network, on the same examples. The first has zeros where it
    would join modules, and starts from the second's start.

    Args:
        n_examples: Of the task.
        n_steps: Iterations of L-BFGS at most, for each start.
        n_draws: Proposals of each chain.
        seed: Task, starts, chains.

    Returns:
        For ``modular`` and ``dense``: training loss, norm, and what the estimate says; ``value`` None where it is
        refused or no start got to the loss.
    """
    x, y = two_modules(n_examples, seed)
    goal, found = EQUAL * OUTPUTS, {"seed": seed}
    for name in ("modular", "dense"):
        for start in range(STARTS):
            network = workbench.mlp([INPUTS, HIDDEN, OUTPUTS], 1000 * start + seed)
            objective = Supervised(network, (x, y), loss="squared_error")
            mask = modular_mask(objective) if name == "modular" else torch.ones(objective.D, dtype=torch.bool)
            theta = fitted(objective, objective.theta_0, mask, n_steps, goal)
            if objective.loss(theta) <= goal:
                break
        measured = {"loss": objective.loss(theta), "norm": float(theta.norm()), "start": start}
        if measured["loss"] <= goal:
            measured |= _said(coefficient(objective, theta, n_draws, seed, OUTPUTS, n_tries=2))
        else:
            measured |= {"value": None, "refused": f"loss above {goal:g} from {STARTS} starts"}
        found[name] = measured
    return found


def run(
    sweep: workbench.Sweep, trial: Callable[..., Any], asked: Sequence[dict[str, Any]], tick: Callable[[float], None]
) -> list[Any]:
    """Run trials and return what they found, in order."""
    require(len(asked) > 0, "seeds", "must be at least one", 0)
    return [each.result for each in sweep.map(trial, asked, tick)]


def counts(
    sweep: workbench.Sweep, tick: Callable[[float], None], seeds: Sequence[int], n_widths: int = 4, **given: int
) -> pd.DataFrame:
    """Run the trials of all tasks, widths, decays and seeds; return a row a network."""
    asked = [
        {"task": task, "width": width, "decay": decay, "seed": seed, **given}
        for task in TASKS
        for width in WIDTHS[task][:n_widths]
        for decay in DECAYS
        for seed in seeds
    ]
    rows = []
    for one in run(sweep, count_trial, asked, tick):
        effective = {f"effective at {name}": n for name, n in one["effective"].items()}
        rows.append(one | effective | {"effective": one["effective"][f"{RULE:g}"]})
    return pd.DataFrame(rows).astype({"value": float})


def pairs(sweep: workbench.Sweep, tick: Callable[[float], None], seeds: Sequence[int], **given: int) -> pd.DataFrame:
    """Run the pairs; return a row a pair: both learning coefficients (NaN where missing), losses, norms, why."""
    rows = []
    for one in run(sweep, pair_trial, [{"seed": seed, **given} for seed in seeds], tick):
        row = {"seed": one["seed"]}
        for name in ("modular", "dense"):
            row |= {name: one[name]["value"]}
            row |= {f"{name} {what}": one[name][what] for what in ("loss", "norm", "refused")}
        rows.append(row)
    return pd.DataFrame(rows).astype({"modular": float, "dense": float})
