"""Trials of Fisher merging: two experts of one base, merged over a grid of lambda; logistic regressions merged."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from soup_tasks import TURN, Tasks, fit, noisy, pack, recipe_of, rotate, tasks
from torch import Tensor

from workbench.datasets import Split
from workbench.merging import fisher_average
from workbench.models import mlp
from workbench.objective import Supervised
from workbench.pruning.scores import fisher_diagonal
from workbench.seeds import generator, key

SETTINGS = ("class split", "rotation", "donor", "robustness")
ARMS = ("plain", "Fisher", "empirical Fisher", "few examples", "last layer")
FEW = 64  # examples of the Fisher matrix that is to show how many it needs
MERGES = ("plain average", "Fisher merging", "full Fisher")  # of the toy
DESIGNS = ("one at a time", "correlated")


class Job(NamedTuple):
    """Two experts' training images, and the images by which lambda is chosen and the merged network judged.

    An expert without images is the base itself.
    """

    first: Split | None
    second: Split | None
    validation: Split
    test: Split


def both(one: Split, other: Split) -> Split:
    """Return two splits as one."""
    return Split(torch.cat([one.x, other.x]), torch.cat([one.y, other.y]))


def turned(split: Split, degrees: float) -> Split:
    """Return a split's images turned by one angle."""
    return Split(rotate(split.x, degrees), split.y)


def job_of(setting: str, drawn: Tasks, few: int) -> Job:
    """Return what a setting asks for.

    Args:
        setting: ``"class split"``: the lower and the upper half of the classes, judged on all; ``"rotation"``: images
            turned left and turned right, judged on both; ``"donor"``: few images as they are and many turned ones,
            judged as they are; ``"robustness"``: the base and its fine-tuning to few images, judged as they are,
            rotated and noisy.
        drawn: The images.
        few: Labelled images of the last two settings' target.

    Returns:
        The experts' images and the judges.
    """
    target, n = drawn.target, min(few, len(drawn.target))
    small = Split(target.x[:n], target.y[:n])
    if setting == "class split":
        low = target.y < (int(drawn.test.y.max()) + 1) // 2
        halves = (Split(target.x[each], target.y[each]) for each in (low, ~low))
        return Job(*halves, drawn.validation, drawn.test)
    if setting == "rotation":
        sides = [[turned(each, a) for a in (-TURN, TURN)] for each in (target, drawn.validation, drawn.test)]
        return Job(*sides[0], both(*sides[1]), both(*sides[2]))
    if setting == "donor":
        return Job(small, turned(drawn.donor, TURN), drawn.validation, drawn.test)
    rng = generator(0, "soups", "robustness")
    x = drawn.validation.x
    moved = [x, rotate(x, rng.uniform(-TURN, TURN, len(x))), noisy(x, rng)]
    return Job(None, small, Split(torch.cat(moved), drawn.validation.y.repeat(3)), drawn.shifted)


def base_images(setting: str, drawn: Tasks) -> Split:
    """Return what a setting's base is trained on: the other task, or, to be robust, moved images of this one."""
    if setting != "robustness":
        return drawn.source
    rng, x = generator(1, "soups", "robustness"), drawn.donor.x
    return both(Split(rotate(x, rng.uniform(-TURN, TURN, len(x))), drawn.donor.y), Split(noisy(x, rng), drawn.donor.y))


def merge_repeat(
    dataset: str,
    n_source: int,
    n_target: int,
    n_validation: int,
    n_few: int,
    hidden: int,
    n_pretrain_epochs: int,
    n_epochs: int,
    lr: float,
    batch_size: int,
    n_fisher: int | None,
    n_lambdas: int,
    setting: str,
    seed: int,
) -> dict[str, Any]:
    """Train a base and two experts of an MLP and merge them; the trial, which a worker imports.

    Args:
        dataset: Images by name.
        n_source: Images of the base, in another form.
        n_target: Labelled images of the experts.
        n_validation: Images by which lambda is chosen.
        n_few: Labelled images where the target has few.
        hidden: Units of each of two hidden layers.
        n_pretrain_epochs: Passes of the base.
        n_epochs: Passes of each expert.
        lr: Of all training.
        batch_size: Images a step.
        n_fisher: Images of each Fisher matrix; None for all that an expert has.
        n_lambdas: Points of the grid from 0, the first expert, to 1, the second.
        setting: One of SETTINGS.
        seed: Images, start, orders.

    Returns:
        For each arm the accuracies over lambda on validation and test images, the chosen lambda, and which test images
        are right there; ``joint``, the accuracy of one network trained on both experts' images.
    """
    drawn = tasks(dataset, n_source, n_target, n_validation, seed)
    job, n_classes = job_of(setting, drawn, n_few), int(drawn.test.y.max()) + 1
    network = mlp([drawn.test.x[0].numel(), hidden, hidden, n_classes], seed)

    def train_on(images: Split, start: Tensor, name: str, epochs: int) -> Tensor:
        recipe = recipe_of(len(images), epochs, batch_size, lr)
        return fit(Supervised(network, images), start, recipe, key(seed, "merge", name) % 2**31).theta

    first_images = base_images(setting, drawn)
    base = train_on(first_images, Supervised(network, first_images).theta_0, f"base {setting}", n_pretrain_epochs)
    trained = [each for each in (job.first, job.second) if each is not None]
    images = [first_images if each is None else each for each in (job.first, job.second)]
    pairs = zip(("first", "second"), (job.first, job.second), strict=True)
    thetas = [base if each is None else train_on(each, base, name, n_epochs) for name, each in pairs]
    joint = train_on(both(*trained) if len(trained) == 2 else trained[0], base, "joint", n_epochs)
    judge = Supervised(network, images[0], job.validation, job.test)
    found: dict[str, Any] = {"joint": judge.evaluate(joint).metric, "lambdas": np.linspace(0, 1, n_lambdas).tolist()}
    for arm, fishers in fishers_of([Supervised(network, each) for each in images], thetas, n_fisher, seed).items():
        found[arm] = over_lambda(judge, thetas, fishers, found["lambdas"])
    return found


def fishers_of(
    experts: Sequence[Supervised], thetas: Sequence[Tensor], n_fisher: int | None, seed: int
) -> dict[str, list[Tensor]]:
    """Return each arm's weights of both experts; equal ones make a plain average."""

    def diagonals(n: int | None, labels: Any) -> list[Tensor]:
        sizes = [None if n is None else min(n, len(each.splits["train"])) for each in experts]
        both_of = zip(experts, thetas, sizes, strict=True)
        return [fisher_diagonal(each, theta, size, seed, labels) for each, theta, size in both_of]

    plain, sampled = [torch.ones_like(theta) for theta in thetas], diagonals(n_fisher, "sampled")
    last = torch.zeros_like(thetas[0], dtype=torch.bool)
    for entry in experts[0].layout.entries[-2:]:  # the last weight and bias
        last[entry.offset : entry.offset + entry.size] = True
    head = [torch.where(last, each, one) for each, one in zip(sampled, plain, strict=True)]
    found = (plain, sampled, diagonals(n_fisher, "data"), diagonals(FEW, "sampled"), head)
    return dict(zip(ARMS, found, strict=True))


def over_lambda(
    judge: Supervised, thetas: Sequence[Tensor], fishers: Sequence[Tensor], lambdas: Sequence[float]
) -> dict[str, Any]:
    """Merge at every lambda; choose one by validation accuracy, of equal ones that of the least validation loss."""
    merged = [fisher_average(thetas, fishers, (1 - each, each)) for each in lambdas]
    validation = [judge.evaluate(theta, "validation") for theta in merged]
    test = [judge.evaluate(theta, "test") for theta in merged]
    best = max(range(len(merged)), key=lambda i: (validation[i].metric, -validation[i].loss))
    correct = test[best].correct
    assert correct is not None
    curves = {"validation": [each.metric for each in validation], "test": [each.metric for each in test]}
    return curves | {"lambda": lambdas[best], "right": pack(correct)}


# --- logistic regressions, whose joint optimum is known


def fit_logistic(x: np.ndarray, y: np.ndarray, tolerance: float = 1e-10) -> np.ndarray:
    """Return the maximum-likelihood parameters, shape ``(d,)``, by Newton's method."""
    theta = np.zeros(x.shape[1])
    for _ in range(50):
        step = np.linalg.solve(fisher_matrix(x, theta), x.T @ (y - 1 / (1 + np.exp(-x @ theta))) / len(y))
        theta = theta + step
        if np.abs(step).max() < tolerance:
            break
    return theta


def fisher_matrix(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the Fisher matrix of a logistic regression, which is its Hessian, shape ``(d, d)``, mean over examples."""
    p = 1 / (1 + np.exp(-x @ theta))
    return np.asarray((x * (p * (1 - p))[:, None]).T @ x / len(x))


def design(name: str, n: int, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw inputs, shape ``(n, d)``: one feature active at a time, or all, correlated, of the weights' scales."""
    d = len(weights)
    if name == "one at a time":
        return np.eye(d)[rng.choice(d, n, p=weights / weights.sum())]
    mixed = rng.standard_normal((n, d)) + rng.standard_normal((n, 1))  # correlation 1/2
    return np.asarray(mixed * np.sqrt(weights))


def toy(n: int, d: int, seed: int) -> dict[str, dict[str, float]]:
    """Merge two logistic regressions that saw different features; the trial.

    Both share the truth; what is frequent (or large) for one is rare (or small) for the other, by up to 1 : 20.

    Args:
        n: Examples of each.
        d: Features.
        seed: Truth and examples.

    Returns:
        For each design and way of merging the distance to the joint optimum over that optimum's norm, in %.
    """
    found: dict[str, dict[str, float]] = {}
    for name in DESIGNS:
        rng = generator(seed, "soups", "toy", name)
        truth, weights = rng.uniform(-1.5, 1.5, d), np.geomspace(1, 1 / 20, d)
        xs = [design(name, n, each, rng) for each in (weights, weights[::-1])]
        ys = [(rng.random(n) < 1 / (1 + np.exp(-x @ truth))).astype(float) for x in xs]
        thetas = [fit_logistic(x, y) for x, y in zip(xs, ys, strict=True)]
        joint = fit_logistic(np.concatenate(xs), np.concatenate(ys))
        matrices = [fisher_matrix(x, theta) for x, theta in zip(xs, thetas, strict=True)]
        tensors = [torch.from_numpy(theta) for theta in thetas]
        diagonals = [torch.from_numpy(np.diag(F).copy()) for F in matrices]
        full = np.linalg.solve(sum(matrices), sum(F @ theta for F, theta in zip(matrices, thetas, strict=True)))
        merged = (np.mean(thetas, axis=0), fisher_average(tensors, diagonals).numpy(), full)
        distances = [100 * float(np.linalg.norm(each - joint) / np.linalg.norm(joint)) for each in merged]
        found[name] = dict(zip(MERGES, distances, strict=True))
    return found
