"""A figure with controls: plotly's own, which work on a page without a kernel."""

from collections.abc import Sequence

import plotly.graph_objects as go

from workbench.errors import require


def slider_figure(
    figures: Sequence[go.Figure], labels: Sequence[str], *, prefix: str = "", active: int = 0
) -> go.Figure:
    """Join figures that differ in their data and title alone into one with a slider that needs no kernel.

    Args:
        figures: At least one, with the same number of traces.
        labels: One per figure, along the slider.
        prefix: Before the current label.
        active: Index of the figure shown first.

    Returns:
        A copy of ``figures[active]`` with one frame per figure.

    Raises:
        InputError: If the numbers of traces differ.
    """
    sizes = {len(figure.data) for figure in figures}
    require(len(sizes) == 1, "figures", "must have the same number of traces", sorted(sizes))
    joined = go.Figure(figures[active])
    traces = list(range(len(joined.data)))
    joined.frames = [
        go.Frame(data=figure.data, name=str(i), traces=traces, layout={"title": figure.layout.title})
        for i, figure in enumerate(figures)
    ]
    how = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": label, "args": [[str(i)], how]} for i, label in enumerate(labels)]
    place = {"pad": {"t": 60}, "len": 0.9, "x": 0.05}
    slider = {"active": active, "steps": steps, "currentvalue": {"prefix": prefix}, **place}
    below = (joined.layout.margin.b or 70) + 60
    return joined.update_layout(sliders=[slider], margin={"b": below}, height=(joined.layout.height or 500) + 90)
