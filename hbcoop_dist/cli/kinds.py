"""Commands that every kind of campaign has: which kind it is decides who answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from hbcoop_dist.campaigns.generalization import planner as generalization_planner
from hbcoop_dist.campaigns.generalization import runner as generalization_runner
from hbcoop_dist.campaigns.generalization.loading import is_generalization, load_generalization
from hbcoop_dist.campaigns.generalization.schema import KIND as GENERALIZATION
from hbcoop_dist.campaigns.hbond.plan import Plan, plan
from hbcoop_dist.campaigns.hbond.spec import load_campaign
from hbcoop_dist.campaigns.runner import Summary, run
from hbcoop_dist.cli import generalization_commands as generalization_command
from hbcoop_dist.cli import generalization_commands as training_cost
from hbcoop_dist.cli import store_commands as report_command
from hbcoop_dist.store import kind_of_store, open_store

AnyPlan = Plan | generalization_planner.GeneralizationPlan


def draw(spec: str, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> AnyPlan:
    """The plan of a campaign file."""
    if is_generalization(spec):
        return generalization_planner.plan(load_generalization(spec), elsewhere=elsewhere)
    return plan(load_campaign(spec), device=device, elsewhere=elsewhere)


def draw_again(store: Path, *, device: str, elsewhere: Collection[str]) -> Iterator[AnyPlan]:
    """The plans of the campaigns that a store was made and grown by."""
    if kind_of_store(store) == GENERALIZATION:
        for spec in generalization_command.specs_of(store):
            yield generalization_planner.plan(spec, elsewhere=elsewhere)
    else:
        for campaign in report_command.specs_of(open_store(store), store):
            yield plan(campaign, device=device, elsewhere=elsewhere)


def estimate(drawn: AnyPlan, store: Path) -> str:
    """What a plan would cost, from the times of a store of its kind."""
    if isinstance(drawn, generalization_planner.GeneralizationPlan):
        return training_cost.estimate(drawn, store)
    open_store(store)
    return report_command.estimate(drawn, store)


def carry_out(drawn: AnyPlan, store: Path, **how: Any) -> Summary:
    """Run a plan; keywords as of `hbcoop_dist.run`."""
    if isinstance(drawn, generalization_planner.GeneralizationPlan):
        return generalization_runner.run(drawn, store, **how)
    return run(drawn, store, **how)


def status(store: Path, console: Console) -> bool:
    """Show how a store stands; True when everything is done or skipped."""
    if kind_of_store(store) == GENERALIZATION:
        return generalization_command.status(store, console)
    return report_command.status(open_store(store), console, store)


def analyse(store: Path, console: Console, figure: Path | None, against: str | None) -> None:
    """Print what a store says, and draw its figure."""
    if kind_of_store(store) == GENERALIZATION:
        if against is not None:
            raise typer.BadParameter(f"--against: expected a store of hydrogen bonds, found {store} of another kind")
        generalization_command.analyse(store, console, figure)
    else:
        report_command.analyse(open_store(store), console, store, figure, against)
