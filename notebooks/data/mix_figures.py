"""Figures of the study on mixtures: predicted against true losses, runs needed, other domains, moved shares."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from mix_models import ALONE, LARGE, REGRESSORS, part, shares
from scipy.stats import spearmanr

from workbench.figures.style import BLUE, COLOURS, GREY, INK, SKY, SYMBOLS, VERMILION, finish, panels

_LOOK = {name: (COLOURS[i], SYMBOLS[i]) for i, name in enumerate(REGRESSORS)} | {ALONE: (INK, "x-thin")}


def ranking_figure(fits: pd.DataFrame, truth: np.ndarray) -> go.Figure:
    """Draw predicted losses of small models against true ones of large models, and which mixture is chosen.

    Args:
        fits: Of ``mix_models.subsample``.
        truth: Losses of the large models, shape ``(n,)``.

    Returns:
        A panel for each regression from all runs.
    """
    whole = fits[fits.n_runs == fits.n_runs.max()].set_index("regressor")
    titles = [f"{name}: Spearman {whole.spearman[name]:.3f}" for name in REGRESSORS]
    figure = panels(1, 3, subplot_titles=titles, horizontal_spacing=0.11)
    for column, name in enumerate(REGRESSORS, 1):
        predicted, pick = whole.predicted[name], int(np.argmin(whole.predicted[name]))
        marks = (
            ("a mixture", slice(None), _LOOK[name][1], _LOOK[name][0], 7),
            ("the chosen one", [pick], "circle-open", VERMILION, 16),
            ("the best one", [int(truth.argmin())], "x", INK, 11),
        )
        for i, (said, rows, symbol, colour, size) in enumerate(marks):
            figure.add_scatter(
                x=predicted[rows], y=truth[rows], mode="markers", name=said, row=1, col=column,
                showlegend=column == 1 and i > 0, marker={"color": colour, "symbol": symbol, "size": size},
                hovertemplate=f"{said}: predicted %{{x:.3f}}, true %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="Predicted loss, small (nats)")
    figure.update_yaxes(title="True loss, large (nats)")
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    note = f"{len(truth)} mixtures that no regression has seen; {int(fits.n_runs.max())} small runs fitted."
    return finish(figure, "Small runs rank mixtures for large models", note, height=480)


def runs_figure(fits: pd.DataFrame, alone: float, domain: str) -> go.Figure:
    """Draw the rank correlation against the number of small runs.

    Args:
        fits: Of ``mix_models.subsample``.
        alone: Rank correlation of the target domain's own share, which needs no runs.
        domain: The target.

    Returns:
        A line for each regression: mean over subsets, each subset a small mark.
    """
    figure, sizes = go.Figure(), sorted(fits.n_runs.unique())
    for i, name in enumerate(REGRESSORS):
        rows, (colour, symbol) = fits[fits.regressor == name], _LOOK[name]
        mean = rows.groupby("n_runs").spearman.mean()
        shift = 2 ** (0.09 * (i - 1))
        figure.add_scatter(
            x=rows.n_runs * shift, y=rows.spearman, mode="markers", showlegend=False, hoverinfo="skip",
            marker={"color": colour, "size": 4, "opacity": 0.5},
        )  # fmt: skip
        figure.add_scatter(
            x=np.array(mean.index) * shift, y=mean, mode="lines+markers", name=name, line={"color": colour},
            marker={"symbol": symbol, "size": 9}, hovertemplate=f"{name}, %{{x:.0f}} runs: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=[sizes[0] / 1.2, sizes[-1] * 1.2], y=[alone, alone], mode="lines", name=f"share of {domain} alone",
        line={"color": INK, "dash": "dot"}, hovertemplate="%{y:.3f}<extra></extra>",
    )  # fmt: skip
    for y in (0.8, 0.9):
        figure.add_hline(y=y, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(title="Small runs", type="log", tickvals=sizes, ticktext=[str(n) for n in sizes])
    figure.update_yaxes(title="Spearman, large models", range=[max(0.0, float(fits.spearman.min()) - 0.05), 1.01])
    note = f"Lines: means over {fits.groupby('n_runs').repeat.nunique().max()} random subsets; small marks: subsets. "
    note += "Dashed: the rules' 0.8 and 0.9."
    return finish(figure, "How many small runs does it take?", note, height=480)


def domain_figure(table: pd.DataFrame) -> go.Figure:
    """Draw rank correlations of boosting on every domain's loss and at every size.

    Args:
        table: Of ``mix_models.domains``.

    Returns:
        A row a domain, a panel a size; the other regressions as open marks.
    """
    sizes = list(dict.fromkeys(table["size"]))
    figure = panels(1, len(sizes), subplot_titles=[f"{size} parameters" for size in sizes], shared_yaxes=True,
                           horizontal_spacing=0.03)  # fmt: skip
    order = table[(table.regressor == "boosting") & (table["size"] == sizes[-1])].sort_values("spearman").domain
    for column, size in enumerate(sizes, 1):
        for name in (*REGRESSORS, ALONE):
            rows = table[(table.regressor == name) & (table["size"] == size)].set_index("domain").loc[order]
            colour, symbol = _LOOK[name]
            figure.add_scatter(
                x=rows.spearman, y=rows.index, mode="markers", name=name, showlegend=column == 1, row=1, col=column,
                marker={"color": colour, "symbol": symbol if name == "boosting" else f"{symbol}-open", "size": 9,
                        "line": {"width": 2 * (name != "boosting"), "color": colour}},
                hovertemplate=f"{name}, %{{y}}: %{{x:.3f}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="Spearman", range=[max(-1.0, float(table.spearman.min()) - 0.05), 1.03])
    figure.update_yaxes(title="Domain of the loss", row=1, col=1)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    counts = ", ".join(f"{table[table['size'] == size].n.iloc[0]} at {size}" for size in sizes)
    return finish(figure, "Other domains, fitted to the same small runs", f"Unseen mixtures: {counts}.", height=580)


def moved(runs: pd.DataFrame, domain: str, at: np.ndarray) -> np.ndarray:
    """Return mixtures with other shares of one domain, the rest in the proportions of the mean mixture."""
    names = [name.removeprefix("mix_") for name in runs.filter(like="mix_")]
    mixture = np.repeat(shares(part(runs, "1M", "train")).mean(0)[None], len(at), axis=0)
    i = names.index(domain)
    mixture[:, i] = 0
    mixture *= ((1 - at) / mixture.sum(1))[:, None]
    mixture[:, i] = at
    return mixture


def moved_view(runs: pd.DataFrame, fitted: dict[str, object], target: str, domain: str) -> go.Figure:
    """Draw the predicted loss as one domain's share grows, beside the runs.

    Args:
        runs: A row a run.
        fitted: Regression by name, fitted to the small runs.
        target: Column of the loss.
        domain: Whose share grows.

    Returns:
        A line a regression, a mark a small run.
    """
    small, at = part(runs, "1M", "train"), np.linspace(0, 1, 41)
    figure = go.Figure()
    figure.add_scatter(
        x=small[f"mix_{domain}"], y=small[target], mode="markers", name="a run", marker={"color": SKY, "size": 5},
        hovertemplate="share %{x:.2f}, loss %{y:.3f}<extra></extra>",
    )  # fmt: skip
    for name, model in fitted.items():
        figure.add_scatter(
            x=at, y=model.predict(moved(runs, domain, at)), mode="lines", name=name,
            line={"color": _LOOK[name][0], "width": 2.5},
            hovertemplate=f"{name}: share %{{x:.2f}}, loss %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=f"Share of {domain}", range=[-0.02, 1.02])
    span = small[target]
    figure.update_yaxes(
        title=f"{target.replace('loss_', 'Loss on ')} (nats)", range=[span.min() - 0.2, span.max() + 0.2]
    )
    note = "Lines: regressions of 1M models; the other domains keep the proportions of the mean mixture."
    return finish(figure, f"More {domain}", note, height=460)


def own_view(predicted: np.ndarray, truth: np.ndarray, name: str, n_runs: int, target: str) -> go.Figure:
    """Draw a regression of the reader's own against the large models.

    Args:
        predicted: Shape ``(n,)``.
        truth: Shape ``(n,)``.
        name: The regression.
        n_runs: Small runs fitted.
        target: Column of the loss.

    Returns:
        Predicted against true losses, with what is chosen and what is best.
    """
    figure, pick = go.Figure(), int(predicted.argmin())
    marks = (
        ("a mixture", slice(None), "circle", BLUE, 8),
        ("the chosen one", [pick], "circle-open", VERMILION, 17),
        ("the best one", [int(truth.argmin())], "x", INK, 12),
    )
    for said, rows, symbol, colour, size in marks:
        figure.add_scatter(x=predicted[rows], y=truth[rows], mode="markers", name=said,
                           marker={"symbol": symbol, "color": colour, "size": size})  # fmt: skip
    figure.update_xaxes(title="Predicted loss, 1M (nats)")
    figure.update_yaxes(title=f"True loss, {LARGE} (nats)")
    rank = int((truth < truth[pick]).sum()) + 1
    note = f"{name} on {n_runs} runs: Spearman {spearmanr(predicted, truth).statistic:.3f}; the chosen mixture is "
    note += f"number {rank} of {len(truth)}."
    return finish(figure, f"Your regression: {target.replace('loss_', 'loss on ')}", note, height=460)
