"""Trials of the soups: pre-train, fine-tune many times, average, and measure what lies between every two runs."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import torch
from soup_tasks import Tasks, fit, pack, recipe_of, rotate, tasks
from torch import Tensor

from workbench.datasets import Split
from workbench.merging import greedy_soup, uniform_soup
from workbench.models import small_cnn
from workbench.objective import Supervised
from workbench.probes import barrier
from workbench.seeds import generator, key

KINDS = ("shared", "independent")  # starts of the fine-tunings
ARMS = ("best single", "uniform soup", "greedy soup", "ensemble")
COPIES, TILT, SHIFT = 4, 15.0, 0.1  # of augmentation: moved copies of an image, degrees and share of the side at most


class Setting(NamedTuple):
    """One fine-tuning of the sweep."""

    lr: float
    decay: float
    epochs: int
    augmented: bool

    def __str__(self) -> str:
        moved = ", augmented" if self.augmented else ""
        return f"rate {self.lr:g}, decay {self.decay:g}, {self.epochs} epochs{moved}"


def settings(lrs: Sequence[float], decays: Sequence[float], epochs: Sequence[int]) -> list[Setting]:
    """Return every combination, with and without augmentation."""
    return [Setting(*each) for each in product(lrs, decays, epochs, (False, True))]


def objective_of(drawn: Tasks, train: Split, width: int, seed: int) -> Supervised:
    """Return the loss of a small CNN with BatchNorm; test images stand there as they are, rotated and noisy."""
    network = small_cnn(int(drawn.test.y.max()) + 1, drawn.test.x.shape[1], width, seed)
    return Supervised(network, train, drawn.validation, drawn.shifted)


def augmented(split: Split, seed: int) -> Split:
    """Return the images and moved copies of them."""
    rng = generator(seed, "soups", "augmentation")
    n = len(split)
    moved = [
        rotate(split.x, rng.uniform(-TILT, TILT, n), rng.uniform(-SHIFT, SHIFT, (n, 2))) for _ in range(COPIES - 1)
    ]
    return Split(torch.cat([split.x, *moved]), split.y.repeat(COPIES))


def pretrain(drawn: Tasks, width: int, epochs: int, batch_size: int, seed: int) -> Tensor:
    """Return theta of a network trained on the source task from a start of its own."""
    objective = objective_of(drawn, drawn.source, width, seed)
    return fit(objective, objective.theta_0, recipe_of(len(drawn.source), epochs, batch_size, 0.1), seed).theta


def fine_tune(
    drawn: Tasks, start: Tensor, setting: Setting, width: int, batch_size: int, seed: int, **options: Any
) -> Tensor:
    """Return theta of one fine-tuning on the target task; an epoch is one of the plain images."""
    images = augmented(drawn.target, seed) if setting.augmented else drawn.target
    changes = {"eval_every_steps": options.pop("every")} if "every" in options else {}
    recipe = recipe_of(len(drawn.target), setting.epochs, batch_size, setting.lr, setting.decay, **changes)
    return fit(objective_of(drawn, images, width, 0), start, recipe, seed, **options).theta


def soup_repeat(
    dataset: str,
    n_source: int,
    n_target: int,
    n_validation: int,
    width: int,
    n_pretrain_epochs: int,
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    epochs: Sequence[int],
    batch_size: int,
    n_points: int,
    seed: int,
) -> dict[str, Any]:
    """Fine-tune a sweep from a shared start and from starts of their own; the trial, which a worker imports.

    Args:
        dataset: Images by name.
        n_source: Images to pre-train on, in another form.
        n_target: Labelled images to fine-tune on.
        n_validation: Images to choose by.
        width: Maps of the CNN's first layer.
        n_pretrain_epochs: Passes over the source.
        learning_rates: Of fine-tuning.
        weight_decays: Of fine-tuning.
        epochs: Of fine-tuning.
        batch_size: Images a step.
        n_points: On every segment between two runs; odd.
        seed: Images, starts, orders.

    Returns:
        ``base``, accuracy on the target before fine-tuning; for each kind of start what ``measure`` returns; thetas of
        the base, both soups of the shared start, packed.
    """
    drawn, sweep = (
        tasks(dataset, n_source, n_target, n_validation, seed),
        settings(learning_rates, weight_decays, epochs),
    )
    objective = objective_of(drawn, drawn.target, width, 0)
    start = pretrain(drawn, width, n_pretrain_epochs, batch_size, key(seed, "base", 0) % 2**31)
    found: dict[str, Any] = {"base": objective.evaluate(start, "validation", "recalibrated").metric}
    for kind in KINDS:
        thetas = []
        for k, setting in enumerate(sweep):
            if kind == "independent":
                start = pretrain(drawn, width, n_pretrain_epochs, batch_size, key(seed, "base", k + 1) % 2**31)
            thetas.append(fine_tune(drawn, start, setting, width, batch_size, key(seed, "run", k) % 2**31))
        if kind == "shared":
            found["thetas"] = {"base": pack_theta(start), "uniform soup": pack_theta(uniform_soup(thetas))}
        found[kind], greedy = measure(objective, drawn, thetas, n_points)
        if kind == "shared":
            found["thetas"]["greedy soup"] = pack_theta(greedy)
    return found


def measure(
    objective: Supervised, drawn: Tasks, thetas: Sequence[Tensor], n_points: int
) -> tuple[dict[str, Any], Tensor]:
    """Measure the runs of one kind, their soups, their ensemble and every pair; return the greedy soup too.

    Returns:
        ``singles``, accuracies of each run, as they are, rotated and noisy; ``arms``, for each of ARMS which test
        images are right; ``members`` of the greedy soup; ``pairs``, see ``measure_pairs``.
    """
    soup = greedy_soup(thetas, lambda theta: objective.evaluate(theta, "validation", "recalibrated").metric)
    y, n = drawn.shifted.y, len(drawn.test)
    logits = [objective.logits(theta, "test", "recalibrated") for theta in thetas]
    averages = [objective.logits(theta, "test", "recalibrated") for theta in (uniform_soup(thetas), soup.theta)]
    arms = (logits[soup.members[0]], *averages, torch.stack(logits).mean(0))
    right = [(each.argmax(1) == y).numpy() for each in arms]
    singles = [(each.argmax(1) == y).double().view(-1, n).mean(1).tolist() for each in logits]
    plain = Supervised(objective.model, drawn.target, drawn.validation, drawn.test)
    pairs = measure_pairs(plain, thetas, [each[:n] for each in logits], n_points)
    packed = {arm: pack(each) for arm, each in zip(ARMS, right, strict=True)}
    return {"singles": singles, "arms": packed, "members": list(soup.members), "pairs": pairs}, soup.theta


def measure_pairs(
    objective: Supervised, thetas: Sequence[Tensor], logits: Sequence[Tensor], n_points: int
) -> list[dict[str, Any]]:
    """Measure every pair: losses and errors on the segment between them, its barrier, the soup-ensemble gap.

    Test images, BatchNorm's statistics recomputed at each point. ``gap`` is the loss of the pair's average minus that
    of its logit ensemble, ``term`` what ``gap_term`` predicts.

    Returns:
        A record a pair.
    """
    y, found = objective.splits["test"].batch(None)[1], []
    for i, j in combinations(range(len(thetas)), 2):
        path = barrier(objective, thetas[i], thetas[j], n_points=n_points, split="test")
        middle = objective.logits((thetas[i] + thetas[j]) / 2, "test", "recalibrated")
        ensemble = float(objective.losses((logits[i] + logits[j]) / 2, y).double().mean())
        gap = path.loss[n_points // 2] - ensemble
        term = gap_term(path.loss, middle, logits[j] - logits[i])
        found.append({
            "pair": [i, j], "loss": path.loss.round(6).tolist(), "error": path.error.round(6).tolist(),
            "barrier": 100 * path.error_height, "gap": float(gap), "term": term,
        })  # fmt: skip
    return found


def gap_term(losses: np.ndarray, middle: Tensor, difference: Tensor) -> float:
    """Predict by how much the loss of two networks' average exceeds that of their logit ensemble.

    ``(V - L'') / 8``: L'' is the second derivative of the average's loss along the segment at its middle, by finite
    differences of neighbouring points, and V the mean over examples of the variance of the networks' difference in
    logits, classes drawn from the average's own distribution. Flat (L'' small) is good for the ensemble, confident (V
    small) for the soup.

    Args:
        losses: At equally spaced points of the segment, shape ``(m,)``, m odd and at least 3.
        middle: Logits of the average, shape ``(n, classes)``.
        difference: Logits of the second network minus those of the first.

    Returns:
        The prediction, in the unit of the loss.

    References:
        Wortsman et al. 2022, "Model soups", section 4, https://arxiv.org/abs/2203.05482; at alpha = 1/2 and
        temperature 1.
    """
    m, h = len(losses) // 2, 1 / (len(losses) - 1)
    curvature = (losses[m - 1] - 2 * losses[m] + losses[m + 1]) / h**2
    p, d = middle.double().softmax(1), difference.double()
    variance = (p * d.square()).sum(1) - (p * d).sum(1).square()
    return float((float(variance.mean()) - curvature) / 8)


def pack_theta(theta: Tensor) -> str:
    """Turn a theta into what JSON holds."""
    return theta.numpy().astype("<f4").tobytes().hex()


def unpack_theta(packed: str) -> Tensor:
    """Return a packed theta."""
    return torch.from_numpy(np.frombuffer(bytes.fromhex(packed), "<f4").copy())
