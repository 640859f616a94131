"""The kind of campaign ``complexes``: cooperative energy of a marked pair in any cluster of molecules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from hbcoop_dist.campaigns.complexes.plan import (
    PROTOCOL_VERSION,
    ComplexCellTasks,
    ComplexesPlan,
    ComplexTask,
    RelaxedResult,
    describe_plan,
    make_plan,
)
from hbcoop_dist.campaigns.complexes.records import cell_record
from hbcoop_dist.campaigns.complexes.schema import COMPLEXES_SCHEMA
from hbcoop_dist.campaigns.complexes.spec import ComplexCell, ComplexesSpec, load_spec
from hbcoop_dist.campaigns.kind import CampaignKind, Labels, RowLabels
from hbcoop_dist.campaigns.model_tasks import FragmentResult
from hbcoop_dist.campaigns.spec_fields import names_of
from hbcoop_dist.core.results import Label, Lookup, Record
from hbcoop_dist.store.creation import Definitions
from hbcoop_dist.store.journal import payload_types
from hbcoop_dist.store.schema import Schema

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from hbcoop_dist.analysis.report_content import Report, ReportOptions
    from hbcoop_dist.execution.scheduler import MakeWork
    from hbcoop_dist.models.registry import ModelSource


class ComplexesKind(CampaignKind[ComplexesSpec, ComplexCell, ComplexTask, ComplexCellTasks]):
    """Complexes with a marked pair A, B and an environment C: fragment energies and Eq. 1."""

    spec_class = ComplexesSpec
    name: ClassVar[str] = "complexes"
    protocol_version: ClassVar[int] = PROTOCOL_VERSION
    schema: ClassVar[Schema] = COMPLEXES_SCHEMA
    payloads: ClassVar[Mapping[str, type]] = payload_types(FragmentResult, RelaxedResult)

    def load(self, path: Path) -> ComplexesSpec:
        return load_spec(path)

    def plan(self, spec: ComplexesSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> ComplexesPlan:
        return make_plan(spec, device=device, elsewhere=elsewhere)

    def work(self, plan: ComplexesPlan, arrays: Path) -> MakeWork:
        from hbcoop_dist.campaigns.complexes.worker import ComplexWork

        return ComplexWork.factory(plan.sources, plan.spec.minimize)

    def records(self, plan: ComplexesPlan) -> Callable[[ComplexCell, Lookup, Container[RowLabels]], list[Record]]:
        return lambda cell, results, written: [cell_record(plan, cell, results)]

    def axis_labels(self, plan: ComplexesPlan) -> Mapping[str, Sequence[Label]]:
        return {**super().axis_labels(plan), "atom": list(range(max(cell.structure.n_atoms for cell in plan.cells)))}

    def definitions(self, plan: ComplexesPlan) -> Definitions:
        complexes = {cell.complex: cell.structure for cell in plan.cells}
        parts = np.array(["A", "B", "C"])
        return {
            "digest": {name: one.digest for name, one in complexes.items()},
            "geometry": {name: "free" if one.free else "fixed" for name, one in complexes.items()},
            "atomic_number": {name: one.structure.numbers for name, one in complexes.items()},
            "part": {name: parts[one.structure.molecules] for name, one in complexes.items()},
        }

    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[Labels], bool]:
        grids = []
        for spec in specs:
            try:
                grids.append((names_of(spec["models"]), names_of(spec["complexes"])))
            except (KeyError, TypeError):
                continue
        return lambda labels: any(labels[0] in models and labels[1] in complexes for models, complexes in grids)

    def check(self, plan: ComplexesPlan) -> None:
        from hbcoop_dist.campaigns.model_worker import try_calculators

        try_calculators(cast("Iterable[ModelSource]", plan.sources.values()))

    def describe(self, plan: ComplexesPlan) -> str:
        return describe_plan(plan)

    def estimate(self, plan: ComplexesPlan, store: Path) -> str:
        from hbcoop_dist.campaigns.model_tasks import estimate_core_time

        return estimate_core_time([entry.name for entry in plan.spec.models], plan.tasks, store, self.payloads)

    def analyse(self, ds: xr.Dataset, against: str | None = None) -> Sequence[RenderableType]:
        from hbcoop_dist.analysis.tables.chains import complex_tables

        return complex_tables(ds)

    def figure(self, ds: xr.Dataset) -> Figure:
        from hbcoop_dist.analysis.plots.isolated_dimers import free_dimer_outcomes

        return free_dimer_outcomes(ds)

    def report(self, ds: xr.Dataset, options: ReportOptions) -> Report:
        from hbcoop_dist.campaigns.complexes.report_pages import build_report

        return build_report(ds, options)


KIND = ComplexesKind()
