"""What `start_here.ipynb` calls of planes: solutions, trial, table, verdict and figure."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import start_here
from torch import Tensor

import workbench
from workbench import probes
from workbench.errors import require
from workbench.figures.style import BLUE, INK, ORANGE, finish, panels
from workbench.verdicts import Finding

PARTNER = 100  # seed s is joined with a network of its own: s + 100
PARTS = tuple(i / 20 for i in range(21))  # of the way from one to the other
MIDDLE = PARTS.index(0.5)
_FAR = 0.4  # the plane goes on by this part of its extent beyond the networks


def solution(seed: int, n_steps: int) -> Tensor:
    """Return the whole network's trained theta, shape ``(D,)``, of one seed."""
    objective = start_here.objective_of(seed)
    whole, rate = workbench.Full(objective.theta_0), workbench.matched_learning_rate(objective.D, objective.D)
    recipe = workbench.Recipe(n_steps, rate, batch_size=start_here.BATCH_SIZE)
    return workbench.train(objective, whole, recipe, seed).point(whole).theta


def walk_once(seed: int, n_steps: int) -> dict[str, Any]:
    """Train two networks and walk from one to the other; the trial, which a worker imports.

    Args:
        seed: Of the first network; the second's is larger by ``PARTNER``.
        n_steps: Steps of the training.

    Returns:
        Mean training loss and test accuracy at each of ``PARTS``, and which test images are right there, packed.
    """
    objective = start_here.objective_of(seed)
    first, second = solution(seed, n_steps), solution(seed + PARTNER, n_steps)
    way = probes.line(objective, first, second - first, PARTS)
    right = [objective.evaluate(first + t * (second - first), "test").correct for t in PARTS]
    packed = [np.packbits(each).tobytes().hex() for each in right]
    return {"loss": way.loss.tolist(), "accuracy": [float(each.mean()) for each in right], "right": packed}


def measure(
    sweep: workbench.Sweep, seeds: Sequence[int], n_steps: int, tick: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """Walk from every seed's network to its partner.

    Args:
        sweep: Runs and keeps the trials.
        seeds: Of the first networks.
        n_steps: Optimizer steps of each training.
        tick: Called with the fraction of the pairs that is done.

    Returns:
        A row for each pair and part of the way: ``seed``, ``part``, ``loss``, ``accuracy``, and ``right``, shape
        ``(n_images,)``.
    """
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    trials = sweep.map(walk_once, [{"seed": seed, "n_steps": n_steps} for seed in seeds], tick)
    found = [pd.DataFrame({"seed": s, "part": PARTS} | t.result) for s, t in zip(seeds, trials, strict=True)]
    walks = pd.concat(found, ignore_index=True)
    walks["right"] = walks.right.map(start_here.unpack)
    return walks


def halves(walks: pd.DataFrame) -> pd.DataFrame:
    """Return mean test accuracies at the ends and halfway, and the share that is left there: a table of one row."""
    right = np.stack([np.stack(list(each.right)) for _, each in walks.groupby("seed", sort=False)])
    ends, middle = right[:, [0, -1]].mean(1), right[:, MIDDLE]
    sd = middle.mean(axis=1).std(ddof=1) if len(middle) > 1 else np.nan
    row = [ends.mean(), middle.mean(), sd, *start_here.share_interval(middle, ends), len(middle)]
    columns = ["ends", "halfway", "sd", "share", "low", "high", "seeds"]
    return pd.DataFrame([row], columns=columns, index=pd.Index(["straight line"], name="way"))


def judge(study: workbench.Study, table: pd.DataFrame, n_steps: int) -> Finding:
    """Judge the claim by its rule."""
    return start_here.judge_share(study, "apart", table.iloc[0], "pairs of networks", n_steps, below=True)


def survey(objective: workbench.Supervised, span: probes.Span, n_points: int = 31) -> probes.Slice:
    """Return the training loss on the plane of three networks, a margin around them.

    Args:
        objective: Whose loss.
        span: From ``probes.through``.
        n_points: Along each direction; at least 2.

    Returns:
        Loss and error on the grid.
    """
    low, high = (getattr(span.at, name)(0).values.double().numpy() for name in ("min", "max"))
    margin = _FAR * (high - low)
    axes = (np.linspace(a, b, n_points) for a, b in zip(low - margin, high + margin, strict=True))
    return probes.plane(objective, span.origin, span.directions, *axes)


def draw(seen: probes.Slice, span: probes.Span, walks: pd.DataFrame) -> go.Figure:
    """Draw the loss on the plane of three networks, on the left, and test accuracy along the ways, on the right."""
    figure = panels(1, 2, horizontal_spacing=0.22)
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    z, (x, y) = np.log10(seen.loss.T), seen.axes
    ticks = [e for e in range(-6, 7) if np.nanmin(z) <= e <= np.nanmax(z)]
    figure.add_contour(
        x=x, y=y, z=z, customdata=seen.loss.T, colorscale=[[0, "white"], [1, ORANGE]], name="loss", **left,
        contours={"coloring": "heatmap"}, line={"width": 0.5, "color": INK},
        colorbar={"title": {"text": "nats"}, "x": 0.42, "thickness": 12, "tickvals": ticks,
                  "ticktext": [f"{10.0**e:g}" for e in ticks]},
        hovertemplate="%{x:.1f} and %{y:.1f} from the first network<br>loss %{customdata:.3g} nats<extra></extra>",
    )  # fmt: skip
    corners = span.at.double().numpy()
    figure.add_scatter(
        x=corners[:, 0], y=corners[:, 1], mode="markers", name="trained network", showlegend=False, **left,
        marker={"color": BLUE, "size": 12, "symbol": "diamond", "line": {"color": INK, "width": 1}},
        hovertemplate="a trained network<extra></extra>",
    )  # fmt: skip
    for seed, each in walks.groupby("seed"):
        figure.add_scatter(
            x=each.part, y=each.accuracy, mode="lines", line={"color": BLUE, "width": 1.2}, showlegend=False, **right,
            name=f"seed {seed}",
            hovertemplate=f"seed {seed}, %{{x:.2f}} of the way<br>test accuracy %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    row = halves(walks).iloc[0]
    bar = start_here.BAR * row.ends
    figure.add_scatter(
        x=[0, 1], y=[bar] * 2, mode="lines", name="90 % of the ends", line={"color": INK, "dash": "dash"}, **right,
        showlegend=False, hovertemplate="90 % of the ends: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Distance from first to second (in θ)", **left)
    figure.update_yaxes(title="Distance across (in θ)", **left)
    figure.update_xaxes(title="Part of the way between two networks", **right)
    images = len(walks.right.iloc[0])
    figure.update_yaxes(title=f"Test accuracy (fraction of {images} images)", range=[0, 1.03], **right)
    note = "Left: training loss on the plane of three networks (diamonds), lighter is lower; contours are even in its "
    note += f"logarithm.<br>Right: {walks.seed.nunique()} other pairs of networks and the straight lines between them; "
    note += "dashed: 90 % of the ends' mean."
    return finish(figure, "Between trained networks", note, height=520)
