"""The study's claims, their rules, the three regimes, and the judgement."""

import numpy as np
import pandas as pd
from planes import Plane

from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

PAPER = "three-regime-pruning"
CONNECTED, SIMILAR = -0.05, 0.9  # LMC in nats of training loss, CKA of logits: at least so much
REGIMES = ("I", "II-A", "II-B")
SEEDS, TEMPERATURES, DENSITIES, NOISE, CELLS = 5, 6, 5, 0.1, 10  # what the rules ask for
SPEARMAN, RIGHT, VIOLATIONS = 0.6, 0.7, 1
_ON = ("digits", "mnist", "fashion_mnist")
_ASKED = f"{DENSITIES} densities from 5 to 80 %, at least {TEMPERATURES} temperatures and {SEEDS} seeds, "
_ASKED += f"{100 * NOISE:g} % label noise"
CLAIMS = (
    Claim(
        "low",
        PAPER,
        "Where density is low, a higher temperature of dense training helps the pruned network.",
        f"Spearman(temperature, test error) <= -{SPEARMAN} at the lowest density (digits: below 0); {_ASKED}",
        _ON,
    ),
    Claim(
        "high",
        PAPER,
        "Where density is high, it hurts.",
        f"Spearman(temperature, test error) >= +{SPEARMAN} at the highest density (digits: above 0); {_ASKED}",
        _ON,
    ),
    Claim(
        "best",
        PAPER,
        "The denser the pruned network, the lower the best temperature.",
        f"the temperature of least error never rises with density, {VIOLATIONS} violation allowed; {_ASKED}",
        _ON,
    ),
    Claim(
        "regimes",
        PAPER,
        "The landscape says which: a higher temperature helps in regime I and hurts in II-A and II-B.",
        f"regime I: LMC < {CONNECTED} nats; else II-A: CKA < {SIMILAR}; else II-B. The sign of a temperature's "
        f"effect is as predicted in at least {100 * RIGHT:g} % of all cells (digits: of those whose effect exceeds its "
        f"standard error, at least {CELLS} of them); {_ASKED}",
        _ON,
    ),
)


def regimes(lmc: np.ndarray, cka: np.ndarray) -> np.ndarray:
    """Return each cell's regime: 0 poorly connected (I), 1 connected but dissimilar (II-A), 2 similar too (II-B)."""
    return np.where(lmc < CONNECTED, 0, np.where(cka < SIMILAR, 1, 2))


def effects(error: np.ndarray) -> np.ndarray:
    """Return what a higher temperature does to the error, shape ``(..., n_temperatures, n_densities)``.

    The change from the next lower to the next higher temperature; at the two ends, from or to the end itself.
    """
    above = np.concatenate([error[..., 1:, :], error[..., -1:, :]], axis=-2)
    below = np.concatenate([error[..., :1, :], error[..., :-1, :]], axis=-2)
    return np.asarray(above - below)


def right_signs(error: np.ndarray, regime: np.ndarray) -> np.ndarray:
    """Tell in which cells the effect has the predicted sign: errors fall in regime I and rise elsewhere."""
    return np.asarray(np.sign(effects(error)) == np.where(regime == 0, -1, 1))


def violations(error: np.ndarray) -> np.ndarray:
    """Count how often the best temperature rises from one density to the next higher one."""
    return np.asarray((np.diff(error.argmin(axis=-2), axis=-1) > 0).sum(axis=-1))


def ends(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of resampled values."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def density_table(plane: Plane) -> pd.DataFrame:
    """Return a row for each density: rank correlation with its interval, best and worst temperature, regimes."""
    error, rho = 100 * plane.error, plane.spearman(plane.error)
    drawn = plane.spearman(plane.draws.error)
    names = np.array([plane.name(value) for value in plane.temperatures])
    found = np.array(REGIMES)[regimes(plane.lmc.mean(0), plane.cka.mean(0))]
    rows = []
    for k, density in enumerate(plane.densities):
        low, high = ends(drawn[:, k])
        best, worst = (f"{names[i]}: {error[i, k]:.1f}" for i in (error[:, k].argmin(), error[:, k].argmax()))
        row = {"density": f"{100 * density:g} %", "Spearman": f"{rho[k]:+.2f} [{low:+.2f}, {high:+.2f}]"}
        row |= {"best, error %": best, "worst, error %": worst, "coldest to hottest": " ".join(found[:, k])}
        rows.append(row | {"top eigenvalue": f"{plane.eigenvalue[:, 0, k].mean():.3g} to "
                           f"{plane.eigenvalue[:, -1, k].mean():.3g}", "seeds": len(plane.seeds)})  # fmt: skip
    return pd.DataFrame(rows).set_index("density")


def judge(study: Study, plane: Plane) -> list[Finding]:
    """Judge every claim by its rule; a run that does not meet what the rule asks for decides nothing."""
    digits, n, unmet = plane.dataset == "digits", len(plane.seeds), _unmet(plane)
    error, rho = plane.error, plane.spearman
    found = []

    def say(name: str, value: float, interval: tuple[float, float], unit: str, detail: str, **bound: float) -> None:
        verdict = "inconclusive" if unmet else judge_interval(value, interval, **bound)
        more = n_to_decide(value, interval, n, **bound) if verdict == "inconclusive" and not unmet else None
        if more and more > n:
            detail += f"; about {more} seeds would decide" if more <= 100 else "; over 100 seeds would be needed"
        about = detail + unmet
        found.append(study.judge(name, value=value, interval=interval, n=n, unit=unit, verdict=verdict, detail=about))

    draws, bound = plane.draws, 1e-9 if digits else SPEARMAN
    for name, k in (("low", 0), ("high", -1)):
        limit = {"high": -bound} if name == "low" else {"low": bound}
        said = f"density {100 * plane.densities[k]:g} %, error from the lowest to the highest temperature: "
        said += ", ".join(f"{100 * each:.1f}" for each in error[:, k]) + " %"
        say(name, float(rho(error)[k]), ends(rho(draws.error)[:, k]), "Spearman", said, **limit)
    best = [plane.name(plane.temperatures[i]) for i in error.argmin(axis=0)]
    said = f"best, from the lowest to the highest density: {', '.join(best)}"
    say("best", float(violations(error)), ends(violations(draws.error)), "violations", said, high=VIOLATIONS)
    counted = counted_cells(plane) if digits else np.ones_like(error, dtype=bool)
    right = right_signs(error, regimes(plane.lmc.mean(0), plane.cka.mean(0)))[counted]
    spread = right_signs(draws.error, regimes(draws.lmc, draws.cka))[:, counted]
    said = f"{right.sum()} of {right.size} cells; {_count(plane)}"
    if right.size < CELLS:
        unmet += f"; the rule asks for {CELLS} cells"
    share = (float(right.mean()), ends(spread.mean(axis=1))) if right.size else (float("nan"), (float("nan"),) * 2)
    say("regimes", *share, "of the cells", said, low=RIGHT)
    return found


def counted_cells(plane: Plane) -> np.ndarray:
    """Tell in which cells the temperature's effect exceeds its standard error."""
    return np.asarray(np.abs(effects(plane.error)) > effects(plane.draws.error).std(axis=0, ddof=1))


def _count(plane: Plane) -> str:
    """Say how many cells lie in each regime."""
    found = regimes(plane.lmc.mean(0), plane.cka.mean(0))
    return ", ".join(f"{(found == i).sum()} in {name}" for i, name in enumerate(REGIMES))


def _unmet(plane: Plane) -> str:
    """Say which of the rules' conditions a run does not meet."""
    asked = {
        f"{DENSITIES} densities": len(plane.densities) >= DENSITIES,
        "densities from 5 to 80 %": plane.densities[0] <= 0.05 and plane.densities[-1] >= 0.8,
        f"{TEMPERATURES} temperatures": len(plane.temperatures) >= TEMPERATURES,
        f"{SEEDS} seeds": len(plane.seeds) >= SEEDS,
        f"{100 * NOISE:g} % label noise": plane.noise == NOISE,
    }
    missing = ", ".join(name for name, met in asked.items() if not met)
    return f"; the rule asks for {missing}" if missing else ""
