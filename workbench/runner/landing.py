"""The landing page: the question, the map of studies with what their claims' runs say, how to run and to add one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.runner.html import render
from workbench.runner.replication import Claims, Line, Shown, tally
from workbench.verdicts import Claim


@dataclass(frozen=True)
class Card:
    """A study on the map; one of which there are only runs has a name alone."""

    family: str
    name: str
    question: str = ""
    claims: Sequence[Claim] = ()  # as its notebook writes them down
    lines: Sequence[Line] = ()  # what the runs that speak say
    runs: Sequence[Shown] = ()

    @property
    def command(self) -> str:
        """What a person types for it."""
        return "/".join(filter(None, (self.family, self.name))).replace("_", "-")


def landing_page(known: Sequence[Card], claims: Claims, runs: Sequence[Shown]) -> str:
    """Return the page that leads to all others: the studies here, those of ranked runs alone, what was said of both."""
    strange = sorted({run.record["study"] for run in runs} - {card.name for card in known})
    cards = [
        replace(
            card,
            lines=[lines[0] for (study, _), lines in claims.items() if study == card.name],
            runs=[run for run in runs if run.record["study"] == card.name],
        )
        for card in [*known, *(Card("without a notebook here", name) for name in strange)]
    ]
    example = known[0].command if known else "my_own.ipynb"
    return render("landing", title="Workbench", cards=cards, tally=tally(claims), example=example)
