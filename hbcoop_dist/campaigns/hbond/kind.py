"""The kind of campaign ``hbond``: cooperative energies of hydrogen-bonded chains of N-methylacetamide."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hbcoop_dist.campaigns.hbond.plan import ChainCellTasks, HBondPlan, choose_rotamers, describe_plan, make_plan
from hbcoop_dist.campaigns.hbond.records import record_builder
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.campaigns.hbond.spec import Cell, HBondSpec, load_spec
from hbcoop_dist.campaigns.hbond.task_graph import (
    PROTOCOL_VERSION,
    BodyStart,
    CandidateResult,
    ChainTask,
    MinimumResult,
    MonomerResult,
)
from hbcoop_dist.campaigns.kind import CampaignKind, Comparison, Exporter, Labels, RowLabels
from hbcoop_dist.campaigns.model_tasks import FragmentResult
from hbcoop_dist.core.results import Lookup, Record, TaskResult
from hbcoop_dist.store.journal import payload_types
from hbcoop_dist.store.schema import Schema
from hbcoop_dist.structures.chains import CELL_DIMS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from hbcoop_dist.analysis.report_content import Report, ReportOptions
    from hbcoop_dist.execution.scheduler import MakeWork
    from hbcoop_dist.models.registry import ModelSource
    from hbcoop_dist.optimize.quasi_newton import State

_QUANTITIES = {"cooperative_energy": "kcal/mol", "interaction_energy": "kcal/mol", "distance_on": "A"}


def exporters() -> dict[str, Exporter]:
    """Return the formats by suffix."""
    return {
        ".csv": Exporter(_table_writer(_write_csv), "H-bonds"),
        ".parquet": Exporter(_table_writer(_write_parquet), "H-bonds"),
        ".json": Exporter(_write_leaderboard, "leaderboard"),
        ".xyz": Exporter(_write_geometries, "geometries"),
        ".extxyz": Exporter(_write_geometries, "geometries"),
    }


def _table_writer(write: Callable[[pd.DataFrame, Path], None]) -> Callable[[xr.Dataset, Path], str]:
    def write_table(ds: xr.Dataset, path: Path) -> str:
        from hbcoop_dist.analysis.exports import tidy

        table = tidy(ds)
        write(table, path)
        return f"{len(table)} H-bonds"

    return write_table


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    try:
        table.to_parquet(path, index=False)
    except ImportError:
        raise ValueError(f"expected pyarrow to be installed for {path}, found none") from None


def _write_leaderboard(ds: xr.Dataset, path: Path) -> str:
    from hbcoop_dist.analysis.exports import leaderboard

    path.write_text(json.dumps(leaderboard(ds), indent=1, allow_nan=False))
    return f"{ds.sizes['model']} models"


def _write_geometries(ds: xr.Dataset, path: Path) -> str:
    from ase.io import write

    from hbcoop_dist.analysis.exports import geometries

    frames = list(geometries(ds))
    write(path, frames, format="extxyz")
    return f"{len(frames)} geometries"


def compare_stores(first: xr.Dataset, second: xr.Dataset, pairs: Mapping[str, str]) -> Comparison:
    """Compare two stores H-bond by H-bond.

    Parameters
    ----------
    first, second : xarray.Dataset
    pairs : mapping of str to str
        Models of the first store, and those of the second that they are compared with.
    """
    from hbcoop_dist.analysis.model_scores import compare

    differences = compare(first, second, {other: model for model, other in pairs.items()})
    energies = differences["cooperative_energy"].abs()
    return Comparison(tuple(_lines(differences)), float(energies.max()), "kcal/mol")


def _lines(differences: pd.DataFrame) -> list[str]:
    from hbcoop_dist.analysis.model_scores import largest

    lines = []
    for model, rows in differences.groupby("model", sort=False):
        in_both = rows["cooperative_energy"].notna()
        line = f"{model}: {int(in_both.sum())} H-bonds done in both"
        for name, own, other in (("A", "first", "second"), ("B", "second", "first")):
            # an H-bond that is not done in one store and absent from the other is in neither
            only = (rows[f"status_{own}"] == "done") & rows[f"status_{other}"].isna()
            line += f", {int(only.sum())} only in {name}" if only.any() else ""
        changed = rows["status_first"].notna() & rows["status_second"].notna()
        changed &= rows["status_first"] != rows["status_second"]
        statuses = zip(rows.loc[changed, "status_first"], rows.loc[changed, "status_second"], strict=True)
        for (before, after), count in Counter(statuses).items():
            line += f", {count} {before} in A and {after} in B"
        lines.append(line)
        for name, unit in _QUANTITIES.items() if in_both.any() else ():
            worst = largest(rows, name).iloc[0]
            at = ", ".join(f"{worst[dim]}" for dim in CELL_DIMS[1:]) + f", H-bond {worst['hbond']}"
            lines.append(f"  {name.replace('_', ' ')}: largest difference {worst[name]:+.2g} {unit} ({at})")
    return lines


class HBondKind(CampaignKind[HBondSpec, Cell, ChainTask, ChainCellTasks]):
    """Chains of N-methylacetamide: constrained minimisations, fragment energies, Eq. 1 for every H-bond."""

    spec_class = HBondSpec
    name: ClassVar[str] = "hbond"
    protocol_version: ClassVar[int] = PROTOCOL_VERSION
    schema: ClassVar[Schema] = HBOND_SCHEMA
    payloads: ClassVar[Mapping[str, type]] = payload_types(
        BodyStart, CandidateResult, FragmentResult, MinimumResult, MonomerResult
    )

    def load(self, path: Path) -> HBondSpec:
        return load_spec(path)

    def plan(self, spec: HBondSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> HBondPlan:
        return make_plan(spec, device=device, elsewhere=elsewhere)

    def decide(self, plan: HBondPlan, results: Callable[[str], TaskResult[Any] | None]) -> HBondPlan:
        chosen = choose_rotamers(plan, results)
        return make_plan(plan.spec, chosen, device=plan.device, elsewhere=plan.elsewhere)

    def work(self, plan: HBondPlan, arrays: Path) -> MakeWork:
        from hbcoop_dist.campaigns.hbond.worker import ChainWork

        return ChainWork.factory(plan.sources, plan.spec.minimize)

    def records(self, plan: HBondPlan) -> Callable[[Cell, Lookup, Container[RowLabels]], list[Record]]:
        return record_builder(plan)

    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[Labels], bool]:
        from hbcoop_dist.analysis.selection import requested_by_specs

        return requested_by_specs(specs)

    def restart_state(self, result: TaskResult[Any]) -> State | None:
        from hbcoop_dist.optimize.quasi_newton import State

        payload = result.payload
        if result.status != "unconverged" or not isinstance(payload, MinimumResult) or payload.hessian is None:
            return None
        return State(payload.q, payload.hessian.astype(float))

    def check(self, plan: HBondPlan) -> None:
        from hbcoop_dist.campaigns.model_worker import try_calculators

        try_calculators(cast("Iterable[ModelSource]", plan.sources.values()))

    def describe(self, plan: HBondPlan) -> str:
        return describe_plan(plan)

    def estimate(self, plan: HBondPlan, store: Path) -> str:
        from hbcoop_dist.campaigns.model_tasks import estimate_core_time

        return estimate_core_time([entry.name for entry in plan.spec.models], plan.tasks, store, self.payloads)

    def requested_part(self, ds: xr.Dataset) -> xr.Dataset:
        from hbcoop_dist.analysis.selection import mark_pending

        return mark_pending(ds)

    def status(self, ds: xr.Dataset) -> Sequence[RenderableType]:
        from hbcoop_dist.analysis.tables.chains import status_tables

        return status_tables(ds)

    def analyse(self, ds: xr.Dataset, against: str | None = None) -> Sequence[RenderableType]:
        from hbcoop_dist.analysis.tables.chains import result_tables
        from hbcoop_dist.analysis.tables.references import same_geometry_tables

        return result_tables(ds) if against is None else same_geometry_tables(ds, against)

    def figure(self, ds: xr.Dataset) -> Figure:
        from hbcoop_dist.analysis.plots.chains import cooperative_energy_against_length

        return cooperative_energy_against_length(ds)

    def exporters(self) -> Mapping[str, Exporter]:
        return exporters()

    def compare(
        self, first: xr.Dataset, second: xr.Dataset, pairs: Mapping[str, str] = MappingProxyType({})
    ) -> Comparison:
        return compare_stores(first, second, pairs)

    def report(self, ds: xr.Dataset, options: ReportOptions) -> Report:
        from hbcoop_dist.campaigns.hbond.report_pages import build_report

        return build_report(ds, options)


KIND = HBondKind()
