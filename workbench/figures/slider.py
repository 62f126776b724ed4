"""Controls that plotly itself offers: they work on a page without a kernel."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from workbench.errors import require


def slider_figure(
    figures: Sequence[go.Figure], labels: Sequence[str], *, prefix: str = "", active: int = 0
) -> go.Figure:
    """Join figures that differ in their data alone into one with a native slider, which needs no kernel.

    Args:
        figures: Figures with the same number of traces.
        labels: One per figure, along the slider.
        prefix: Before the current label.
        active: Index of the figure shown first.

    Returns:
        A copy of ``figures[active]`` with one frame per figure.

    Raises:
        InputError: If there is no figure, the numbers of labels or of traces differ, or ``active`` is out of range.
    """
    require(len(figures) > 0, "figures", "must hold at least one figure", figures)
    require(len(labels) == len(figures), "labels", f"must be {len(figures)}, one per figure", len(labels))
    require(0 <= active < len(figures), "active", f"must be in 0..{len(figures) - 1}", active)
    sizes = {len(figure.data) for figure in figures}
    require(len(sizes) == 1, "figures", "must have the same number of traces", sorted(sizes))
    joined = go.Figure(figures[active])
    joined.frames = [
        go.Frame(data=figure.data, name=str(i), traces=list(range(len(figure.data))), layout=_note(figure))
        for i, figure in enumerate(figures)
    ]
    how = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": label, "args": [[str(i)], how]} for i, label in enumerate(labels)]
    slider = {
        "active": active,
        "steps": steps,
        "currentvalue": {"prefix": prefix},
        "pad": {"t": 60},
        "len": 0.9,
        "x": 0.05,
    }
    margin = joined.layout.margin.b or 70
    return joined.update_layout(sliders=[slider], margin={"b": margin + 60}, height=(joined.layout.height or 500) + 90)


def menu(figure: go.Figure, choices: Mapping[str, Sequence[bool]]) -> go.Figure:
    """Add a drop-down menu that chooses which traces are seen.

    Args:
        figure: Changed in place.
        choices: For each entry, whether each trace is visible; the first is what the figure opens with.

    Returns:
        The figure.

    Raises:
        InputError: If an entry has not one flag per trace.
    """
    for label, visible in choices.items():
        require(len(visible) == len(figure.data), "choices", f"must hold {len(figure.data)} flags each", label)
    buttons: list[dict[str, Any]] = [
        {"method": "restyle", "label": label, "args": [{"visible": list(visible)}]}
        for label, visible in choices.items()
    ]
    place = {"x": 1.02, "xanchor": "left", "y": 0, "yanchor": "bottom", "direction": "up"}
    return figure.update_layout(updatemenus=[{"buttons": buttons, **place}])


def _note(figure: go.Figure) -> go.Layout:
    """Return the title alone: it may say what the slider changes; axes and controls stay."""
    return go.Layout(title=figure.layout.title)
