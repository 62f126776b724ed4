"""What the trials found, as arrays: soups over repeats, merges over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from merge_trials import ARMS as MERGE_ARMS
from merge_trials import DESIGNS, MERGES, SETTINGS, merge_repeat, toy
from soup_tasks import SHIFTS, Gain, paired, unpack
from soup_trials import ARMS, KINDS, Setting, settings, soup_repeat

from workbench.datasets import published
from workbench.statistics import mean_interval
from workbench.sweeps import Sweep


@dataclass(frozen=True)
class Soups:
    """Repeats of the sweep; the second axis of arrays is the kind of start, see ``soup_trials.KINDS``.

    Attributes:
        singles: Accuracies, shape ``(n_seeds, 2, n_runs, 3)``: as they are, rotated, noisy.
        right: Whether an arm has a test image right, shape ``(n_seeds, 2, n_arms, 3, n)``.
        members: How many runs the greedy soup holds, shape ``(n_seeds, 2)``.
        pairs: Which runs, shape ``(n_pairs, 2)``.
        loss: On the segments, shape ``(n_seeds, 2, n_pairs, n_points)``; ``error`` likewise.
        barrier: Of the error, in points, shape ``(n_seeds, 2, n_pairs)``; ``gap`` and ``term`` likewise, in nats.
        base: Accuracy before fine-tuning, one a seed.
        thetas: Packed base and soups of the first seed.
    """

    dataset: str
    runs: tuple[Setting, ...]
    seeds: tuple[int, ...]
    singles: np.ndarray
    right: np.ndarray
    members: np.ndarray
    pairs: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    barrier: np.ndarray
    gap: np.ndarray
    term: np.ndarray
    base: np.ndarray
    thetas: Mapping[str, str]

    def gain(self, arm: str, shifts: Sequence[int] = (0,), kind: int = 0) -> Gain:
        """Return how many points of accuracy an arm has over the best single run, mean of some test sets."""
        own, best = (self.right[:, kind, ARMS.index(name)][:, list(shifts)] for name in (arm, ARMS[0]))
        return paired(100 * (own - best).mean(axis=1))

    @property
    def correlation(self) -> np.ndarray:
        """Correlation of gap and term over the pairs of a shared start, one a seed."""
        found = zip(self.gap[:, 0], self.term[:, 0], strict=True)
        return np.array([np.corrcoef(gap, term)[0, 1] for gap, term in found])


@dataclass(frozen=True)
class Merges:
    """Seeds of every setting.

    Attributes:
        test: Accuracy over lambda, shape ``(n_settings, n_arms, n_seeds, n_lambdas)``.
        chosen: Lambda by validation, shape ``(n_settings, n_arms, n_seeds)``.
        right: For each setting whether a test image is right there, shape ``(n_arms, n_seeds, n)``.
        joint: Accuracy of training on both experts' images, shape ``(n_settings, n_seeds)``.
        toy: Distance in % of the optimum's norm, shape ``(n_designs, n_merges, n_seeds)``.
    """

    seeds: tuple[int, ...]
    lambdas: np.ndarray
    test: np.ndarray
    chosen: np.ndarray
    right: Mapping[str, np.ndarray]
    joint: np.ndarray
    toy: np.ndarray

    def gain(self, setting: str, arm: str = "Fisher") -> np.ndarray:
        """Return an arm's points over the plain average, shape ``(n_seeds, n)``, copies of an image averaged."""
        difference = 100 * (self.right[setting][MERGE_ARMS.index(arm)] - self.right[setting][0])
        copies = {"rotation": 2, "robustness": 3}.get(setting, 1)
        return np.asarray(difference.reshape(len(self.seeds), copies, -1).mean(axis=1))


def measure_soups(
    sweep: Sweep, seeds: Sequence[int], tick: Callable[[float], None] | None = None, **trial: Any
) -> Soups:
    """Run the repeats of the sweep.

    Args:
        sweep: Runs and keeps them.
        seeds: Repeats.
        tick: Called with the part that is done.
        trial: Further parameters of ``soup_repeat``.

    Returns:
        What they found.
    """
    found = [each.result for each in sweep.map(soup_repeat, [trial | {"seed": seed} for seed in seeds], tick)]

    def stack(read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
        return np.array([[read(repeat[kind]) for kind in KINDS] for repeat in found])

    def paths(name: str) -> np.ndarray:
        return stack(lambda kind: [pair[name] for pair in kind["pairs"]])

    right = stack(lambda kind: [unpack(kind["arms"][arm]).reshape(len(SHIFTS), -1) for arm in ARMS])
    runs = settings(trial["learning_rates"], trial["weight_decays"], trial["epochs"])
    singles, members = stack(lambda kind: kind["singles"]), stack(lambda kind: len(kind["members"]))
    named = {name: paths(name) for name in ("loss", "error", "barrier", "gap", "term")}
    base = np.array([repeat["base"] for repeat in found])
    return Soups(trial["dataset"], tuple(runs), tuple(seeds), singles, right, members, paths("pair")[0, 0],
                 base=base, thetas=found[0]["thetas"], **named)  # fmt: skip


def measure_merges(
    sweep: Sweep,
    seeds: Sequence[int],
    n_toy: int,
    tick: Callable[[float], None] | None = None,
    **trial: Any,
) -> Merges:
    """Run every setting and the toy.

    Args:
        sweep: Runs and keeps them.
        seeds: Replicates.
        n_toy: Examples of each logistic regression.
        tick: Called with the part that is done.
        trial: Further parameters of ``merge_repeat``.

    Returns:
        What they found.
    """
    asked = [trial | {"setting": setting, "seed": seed} for setting in SETTINGS for seed in seeds]
    found = [each.result for each in sweep.map(merge_repeat, asked, tick)]
    toys = [each.result for each in sweep.map(toy, [{"n": n_toy, "d": 10, "seed": seed} for seed in seeds])]
    n, shape = len(seeds), (len(SETTINGS), len(seeds))
    rows = [found[i * n : (i + 1) * n] for i in range(len(SETTINGS))]

    def stack(name: str) -> np.ndarray:
        return np.array([[[each[arm][name] for each in row] for arm in MERGE_ARMS] for row in rows])

    right = {
        setting: np.array([[unpack(each[arm]["right"]) for each in row] for arm in MERGE_ARMS])
        for setting, row in zip(SETTINGS, rows, strict=True)
    }
    joint = np.array([each["joint"] for each in found]).reshape(shape)
    distances = np.array([[[each[name][merge] for each in toys] for merge in MERGES] for name in DESIGNS])
    lambdas = np.array(found[0]["lambdas"])
    return Merges(tuple(seeds), lambdas, stack("test"), stack("lambda"), right, joint, distances)


def _spread(values: np.ndarray) -> str:
    """Write mean and standard deviation over seeds."""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def soup_table(soups: Soups) -> pd.DataFrame:
    """Return a row for each kind of start and arm: accuracy on each test set, what it has over the best single run."""
    rows = []
    for k, kind in enumerate(KINDS):
        single = 100 * soups.singles[:, k].mean(axis=1)
        each = [("mean single", single)]
        each += [(arm, 100 * soups.right[:, k, i].mean(axis=2)) for i, arm in enumerate(ARMS)]
        for arm, values in each:
            row = {"start": kind, "network": arm}
            row |= {f"{name}, %": _spread(values[:, i]) for i, name in enumerate(SHIFTS)}
            sizes = {"greedy soup": soups.members[:, k].mean(), "uniform soup": len(soups.runs)}
            rows.append(row | {"runs averaged": f"{sizes.get(arm, 1):.3g}", "repeats": len(single)})
    return pd.DataFrame(rows).set_index(["start", "network"])


def merge_table(merges: Merges) -> pd.DataFrame:
    """Return a row for each setting: accuracy at the lambda that validation chose, Fisher minus plain."""
    rows = []
    for i, setting in enumerate(SETTINGS):
        accuracy = dict(zip(MERGE_ARMS, 100 * merges.right[setting].mean(axis=2), strict=True))
        ends = 100 * merges.test[i, 0][:, [0, -1]].max(axis=1)
        row = {"setting": setting, "better expert, %": _spread(ends)}
        row |= {f"{arm}, %": _spread(values) for arm, values in accuracy.items()}
        row |= {"joint training, %": _spread(100 * merges.joint[i])}
        value, (low, high), _ = paired(merges.gain(setting))
        rows.append(row | {"Fisher - plain": f"{value:+.1f} [{low:+.1f}, {high:+.1f}]", "seeds": len(merges.seeds)})
    return pd.DataFrame(rows).set_index("setting")


def toy_table(merges: Merges) -> pd.DataFrame:
    """Return a row for each design of the toy: distances to the joint optimum in % of its norm."""
    rows = []
    for name, distances in zip(DESIGNS, merges.toy, strict=True):
        row = {"features": name}
        for merge, values in zip(MERGES, distances, strict=True):
            mean, low, high = mean_interval(values)
            row[f"{merge}, %"] = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
        rows.append(row | {"seeds": len(merges.seeds)})
    return pd.DataFrame(rows).set_index("features")


def published_table() -> pd.DataFrame:
    """Return the authors' accuracies of 72 fine-tunings of CLIP ViT-B/32, in and out of distribution."""
    table = pd.DataFrame(published("model_soups")).set_index("network").drop(columns=["place", "source"]).astype(float)
    table["five shifts"] = table.drop(columns="ImageNet").mean(axis=1).round(2)
    table = table[["ImageNet", "five shifts"]]
    gains = (table - table.loc["best single"]).round(2)
    return pd.concat([table, gains.add_suffix(", over the best single run")], axis=1)
