"""What is measured on the tables: how well each way extrapolates, and what early stopping by it saves and costs."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from curve_network import CurveNetwork, Forecast, forecast
from curve_prior import Array
from curve_tables import LEAST, Curves, Tables, half, side_by_side

from workbench.laws import FAMILIES, conformal_scale, extrapolate, functional_stopping
from workbench.seeds import generator

LEVEL = 0.8  # of intervals
WAYS = ("last value", *FAMILIES, "ensemble", "network")
HOPELESS, LEAST_LEARNERS = 0.05, 5  # stop where the chance to win is below; learners that a search needs
SHARES = tuple(2.0**-k for k in range(6, 0, -1))  # of the examples, where a search by examples asks
EPOCHS = tuple(range(5, 50, 5))  # where a search by epochs asks
THRESHOLD, PART = 0.01, 0.3  # the stopping rule's: one point of error; of the data


def ask(network: CurveNetwork, curves: Curves, ahead: Array) -> Forecast:
    """Ask the network about curves, a thousand at a time."""
    rows = [slice(i, i + 1000) for i in range(0, len(curves.u), 1000)]
    each = [forecast(network, curves.u[r], curves.y[r], curves.seen[r], ahead[r]) for r in rows]
    return Forecast(*(np.concatenate([getattr(f, name) for f in each]) for name in ("weight", "location", "scale")))


def predict(network: CurveNetwork, curves: Curves, ceiling: float = np.inf) -> pd.DataFrame:
    """Predict each curve's end in every way.

    Args:
        network: The prior-fitted one.
        curves: As far as they are seen.
        ceiling: Largest possible value; 0 is the smallest.

    Returns:
        A row a curve: ``group``, ``target``, a column for each of ``WAYS``, ends of the intervals of ensemble and
        network; CPU seconds a curve in ``attrs``.
    """
    started = time.process_time()
    said = extrapolate(curves.x, np.where(curves.seen, curves.y, np.nan), curves.end[:, None], level=LEVEL)
    middle = time.process_time()
    told = ask(network, curves, curves.ahead)
    low, centre, high = (told.quantile(p)[:, 0] for p in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    done = time.process_time()
    found = {"last value": curves.last} | {name: values[:, 0] for name, values in said.each.items()}
    found |= {"ensemble": said.mean[:, 0], "ensemble low": said.low[:, 0], "ensemble high": said.high[:, 0]}
    found |= {"network": centre, "network low": low, "network high": high}
    frame = pd.DataFrame(found).clip(0, ceiling)
    frame.insert(0, "target", curves.target)
    frame.insert(0, "group", curves.group)
    frame.attrs["seconds"] = {"ensemble": (middle - started) / len(frame), "network": (done - middle) / len(frame)}
    return frame


def widened(frame: pd.DataFrame, others: pd.DataFrame) -> dict[str, float]:
    """Widen the intervals of a frame, in place, by the factor that covers the other frame's curves; return factors."""
    factors = {}
    for way in ("ensemble", "network"):
        centre, *ends = (others[f"{way}{end}"].to_numpy() for end in ("", " low", " high"))
        low, high = np.minimum(ends[0], centre - 1e-9), np.maximum(ends[1], centre + 1e-9)
        factors[way] = conformal_scale(others.target.to_numpy(), centre, low, high, LEVEL)
        for end in ("low", "high"):
            frame[f"{way} {end} raw"] = frame[f"{way} {end}"]
            frame[f"{way} {end}"] = frame[way] + factors[way] * (frame[f"{way} {end}"] - frame[way])
    return factors


def hunt(
    order: Array, costs: list[Array], chance: Callable[[int, int, float], float], finals: Array, full: Array
) -> tuple[float, int]:
    """Search one candidate after the other, giving one up where its chance to end below the best is too small.

    Args:
        order: Candidates in the order of their turn.
        costs: For each the costs so far at which it is asked about.
        chance: Of candidate and question to end below a value.
        finals: How each ends, infinite where it fails.
        full: Cost of each until its end, or its failure.

    Returns:
        Cost in all, and the candidate that is chosen.
    """
    spent, best, chosen = 0.0, np.inf, int(order[0])
    for k in order:
        given_up = next((cost for i, cost in enumerate(costs[k]) if chance(k, i, best) < HOPELESS), None)
        spent += full[k] if given_up is None else given_up
        if given_up is None and finals[k] < best:
            best, chosen = finals[k], int(k)
    return spent, chosen


def search(x: Array, valid: Array, test: Array, stops: Array, network: CurveNetwork, seed: int) -> dict[str, float]:
    """Search candidates with early stopping and without; both choose by validation.

    Args:
        x: Examples or epochs, ``(n,)``.
        valid: Validation curves, ``(candidates, n)``; NaN where not measured, for good where a candidate failed.
        test: Test values at the end, ``(candidates,)``.
        stops: Values of x where it is asked whether to give up.
        network: Tells chances.
        seed: Of the order.

    Returns:
        Saving (times less), regret (test value over the full search's), the same for a rule that gives up whoever is
        behind the best at the same x.
    """
    finite, m = np.isfinite(valid), len(valid)
    alive = finite[:, -1]
    reached = np.where(alive, len(x) - 1, len(x) - 1 - finite[:, ::-1].argmax(1))
    full, finals = x[reached], np.where(alive, valid[:, -1], np.inf)
    asked = [[s for s in stops if s < full[k] and (finite[k] & (x <= s)).sum() >= 5] for k in range(m)]
    parts = [(x[f := finite[k] & (x <= s)], valid[k, f], k) for k in range(m) for s in asked[k]]
    curves = side_by_side(parts)
    told = ask(network, curves, np.log(x[-1] / np.array([p[0][-1] for p in parts]))[:, None])
    first = np.cumsum([0, *map(len, asked)])

    def chance(k: int, i: int, best: float) -> float:
        row = first[k] + i
        return float(Forecast(told.weight[row], told.location[row], told.scale[row]).cdf(np.array([best]))[0])

    def behind(k: int, i: int, best: float) -> float:
        leader = np.flatnonzero(finals == best)
        at = np.flatnonzero(finite[k] & (x <= asked[k][i]))[-1]
        return float(len(leader) == 0 or not valid[k, at] > valid[leader[0], at])

    order = generator(seed, "order").permutation(m)
    best, found = int(finals.argmin()), {}
    for name, rule in (("network", chance), ("behind", behind)):
        spent, chosen = hunt(order, [np.array(a) for a in asked], rule, finals, full)
        found |= {f"{name} saving": full.sum() / spent, f"{name} regret": float(test[chosen] - test[best])}
    return found


def searches_by_examples(tables: Tables, network: CurveNetwork, n_datasets: int) -> pd.DataFrame:
    """Choose a learner for each judged dataset of LCDB; costs are examples trained on; a row a dataset."""
    rows, error, anchors = [], tables.lcdb["error"], tables.lcdb["anchors"].astype(float)
    real = tables.lcdb["learners"] != "DummyClassifier"
    for i in half(len(error), judged=True):
        both = error[i, real, :, 1:].astype(float)
        kept = np.isfinite(both).all(-1).any(0)
        valid, test = both[:, kept, 0], both[:, kept, 1]
        whole = np.isfinite(valid[:, -1]) & np.isfinite(test[:, -1]) if kept.any() else np.zeros(0, bool)
        x = anchors[kept]
        if whole.sum() >= LEAST_LEARNERS and (x <= x[-1] / 8).sum() >= LEAST:
            stops = x[-1] * np.array(SHARES)
            found = search(x, valid[whole], test[whole, -1], stops, network, int(i))
            rows.append({"dataset": int(i), "learners": int(whole.sum()), **found})
    return pd.DataFrame(rows[:n_datasets])


def searches_by_epochs(tables: Tables, network: CurveNetwork, n_candidates: int, seeds: int) -> pd.DataFrame:
    """Choose a configuration for each task of TaskSet; costs are points of the curve; a row a task and search."""
    rows, epochs = [], np.arange(1.0, tables.taskset["valid_loss"].shape[2] + 1)
    for task, (valid, test) in enumerate(zip(*(tables.taskset[f"{s}_loss"] for s in ("valid", "test")), strict=True)):
        drawn = generator(0, "configurations", task).permutation(len(valid))
        for k in range(seeds):
            chosen = drawn[k * n_candidates : (k + 1) * n_candidates]
            curves = np.where(np.isfinite(valid[chosen]), valid[chosen], np.nan).astype(float)
            last = np.where(np.isfinite(test[chosen, -1]), test[chosen, -1], np.inf).astype(float)
            curves[~np.isfinite(last), -1] = np.nan
            usable = np.isfinite(curves[:, 0])
            found = search(epochs, curves[usable], last[usable], np.array(EPOCHS, float), network, k)
            rows.append({"task": task, "search": k, **found})
    return pd.DataFrame(rows)


def picks(tables: Tables, network: CurveNetwork, n_candidates: int) -> pd.DataFrame:
    """Pick a configuration of each TaskSet task by its predicted end; a row a task, share seen and way.

    Returns:
        ``error``: median distance of predicted and final validation loss; ``regret``: the picked one's final
        validation loss over the best one's.
    """
    rows, epochs = [], np.arange(1.0, tables.taskset["valid_loss"].shape[2] + 1)
    for task, valid in enumerate(tables.taskset["valid_loss"]):
        whole = np.flatnonzero(np.isfinite(valid).all(1))
        chosen = generator(0, "picks", task).permutation(whole)[:n_candidates]
        curves = side_by_side([(epochs, valid[k].astype(float), task) for k in chosen])
        for share in (0.1, 0.2, 0.4):
            frame = predict(network, curves.until(share))
            for way in ("last value", "power_offset", "ensemble", "network"):
                regret = frame.target[frame[way].idxmin()] - frame.target.min()
                error = (frame[way] - frame.target).abs().median()
                rows.append({"task": task, "share": share, "way": way, "error": error, "regret": regret})
    return pd.DataFrame(rows)


def stopping(curves: Curves, network: CurveNetwork) -> pd.DataFrame:
    """Follow the iterated stopping rule along whole curves; errors are in points.

    Returns:
        A row a curve: ``known`` (prediction level reached by 30 % of the data), how far each way's prediction there
        is off the end, ``distorted`` (the same of the rule with a tenth of the points moved by 5 points), ``monotone``,
        ``rising`` (share of steps of the asymptote that rise), ``used`` (share of the data at the stop), ``stopped``,
        ``off`` (distance at the stop).
    """
    early = predict(network, curves.until(PART), ceiling=1.0)
    rows, rng = [], generator(0, "distortion")
    for k in range(len(curves.x)):
        x, y = curves.x[k, curves.seen[k]], curves.y[k, curves.seen[k]]
        trace = functional_stopping(x, y, THRESHOLD, horizon=float(x[-1]))
        hit = rng.random(len(y)) < 0.1
        moved = np.clip(y + np.where(hit, 0.05 * rng.choice([-1, 1], len(y)), 0), 0, 1)
        other = functional_stopping(x, moved, THRESHOLD, horizon=float(x[-1]))
        level, stop = trace.prediction_level, trace.stop
        steps = np.diff(trace.asymptote[(level or 5) - 5 :])
        row = {"group": int(curves.group[k]), "known": bool(level) and x[(level or 5) - 1] <= PART * x[-1]}
        row |= {"rule": trace.at(PART * x[-1]) - y[-1], "distorted": other.at(PART * x[-1]) - y[-1]}
        row |= {way: early[way][k] - y[-1] for way in ("last value", "exponential", "ensemble", "network")}
        row |= {
            "monotone": bool(level) and bool((steps >= -1e-9).all()),
            "rising": (steps > 0).mean() if level else 0.0,
        }
        row |= {"used": x[stop - 1] / x[-1] if stop else 1.0, "stopped": bool(stop)}
        row |= {"off": trace.estimate[stop - 5] - y[-1] if stop else np.nan}
        rows.append(row)
    frame = pd.DataFrame(rows)
    points = ["rule", "distorted", "last value", "exponential", "ensemble", "network", "off"]
    frame[points] = 100 * frame[points]
    return frame
