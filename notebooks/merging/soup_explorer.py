"""The study's explorer: two experts merged at a lambda, and one more expert of the reader's own that joins the soup."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import ipywidgets
import plotly.graph_objects as go
from annotated_types import Ge, Le
from soup_figures import own_view, pair_view
from soup_results import Merges, Soups
from soup_tasks import tasks
from soup_trials import Setting, fine_tune, objective_of, unpack_theta

from workbench import widgets
from workbench.schema import Parameter

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True)
class OwnExpert:
    """An expert that the reader asked for, and the networks it may join: name, accuracy as they are, shifted."""

    name: str = ""
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    networks: tuple[tuple[str, float, float], ...] = ()
    joined: bool | None = None  # whether the greedy soup keeps it; None while it trains


def explore_soups(
    soups: Soups, merges: Merges, trial: Mapping[str, Any], *, live: bool | None = None
) -> go.Figure | ipywidgets.VBox:
    """Show two experts merged at a lambda; live, also train one more expert and let it join the soup.

    Args:
        soups: Measurements.
        merges: Measurements.
        trial: Parameters of ``soup_repeat`` but for the seed.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of lambda's slider and figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    stops = tuple(round(float(each), 3) for each in merges.lambdas)
    opens = stops[len(stops) // 2]
    shown = Parameter("lambda", Literal[stops], "", opens, "share of the second expert")
    views = widgets.explore(partial(pair_view, soups, merges), shown, opens, stops, live=live)
    if not (widgets.is_live() if live is None else live):
        return views
    choices = [
        Parameter("learning_rate", Literal[RATES], "", 0.03, "of one more fine-tuning"),
        Parameter("epochs", Annotated[int, Ge(1), Le(60)], "int", max(trial["epochs"]), "passes over the images"),
    ]
    work = live_expert(soups, trial)
    return ipywidgets.VBox([views, widgets.Live(work, draw_expert, OwnExpert(), choices, label="Train")])


def live_expert(soups: Soups, trial: Mapping[str, Any]) -> Callable[..., OwnExpert]:
    """Return the work of the button: one more fine-tuning of the first repeat's base, then both soups with it."""

    def work(report: Callable[[float, OwnExpert], None], learning_rate: float, epochs: int) -> OwnExpert:
        seed, width, size = soups.seeds[0], trial["width"], trial["batch_size"]
        drawn = tasks(trial["dataset"], trial["n_source"], trial["n_target"], trial["n_validation"], seed)
        judge, n = objective_of(drawn, drawn.target, width, 0), len(drawn.test)

        def measured(name: str, theta: Any) -> tuple[str, float, float]:
            correct = judge.evaluate(theta, "test", "recalibrated").correct
            assert correct is not None
            return name, float(correct[:n].mean()), float(correct[n:].mean())

        base, uniform, greedy = (unpack_theta(each) for each in soups.thetas.values())
        before = measured("uniform soup", uniform), measured("greedy soup", greedy)
        run = OwnExpert(f"rate {learning_rate:g}, {epochs} epochs", networks=before)
        report(0.0, run)
        stream = widgets.Stream(run, lambda run: report(min(0.9, 0.04 * len(run.steps)), run))
        every = max(1, epochs * max(1, len(drawn.target) // size) // 20)
        setting = Setting(learning_rate, min(trial["weight_decays"]), epochs, augmented=False)
        own = fine_tune(drawn, base, setting, width, size, 10_000, watch=stream, every=every)
        m, k = len(soups.runs), int(soups.members[0, 0])
        grown = [(m * uniform + own) / (m + 1), (k * greedy + own) / (k + 1)]
        old, new = (judge.evaluate(theta, "validation", "recalibrated").metric for theta in (greedy, grown[1]))
        after = measured("uniform + yours", grown[0]), measured("greedy + yours", grown[1])
        return replace(stream.run, networks=(measured("yours", own), *before, *after), joined=new >= old)

    return work


def draw_expert(run: OwnExpert) -> go.Figure:
    """Draw an expert of the reader's own."""
    if not run.name:
        return own_view((), (), (), "One more expert", "Choose a rate and epochs, then press Train.")
    title = f"Your expert: {run.name}"
    if run.joined is None:
        return own_view(run.steps, run.validation, run.networks, title, "It trains from the base that all runs share.")
    note = "The greedy soup keeps it: " if run.joined else "The greedy soup leaves it out: "
    note += f"validation accuracy {'does not fall' if run.joined else 'falls'} with it. One run, first repeat."
    return own_view(run.steps, run.validation, run.networks, title, note)
