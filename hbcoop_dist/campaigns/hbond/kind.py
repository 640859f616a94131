"""The kind of campaign ``hbond``: cooperative energies of hydrogen-bonded chains of N-methylacetamide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import ValidationError

from hbcoop_dist.campaigns.hbond.exports_and_comparison import compare_stores, exporters
from hbcoop_dist.campaigns.hbond.plan import ChainCellTasks, HBondPlan, choose_rotamers, describe_plan, make_plan
from hbcoop_dist.campaigns.hbond.records import record_builder
from hbcoop_dist.campaigns.hbond.results import BodyStart, CandidateResult, MinimumResult, MonomerResult
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.campaigns.hbond.spec import Cell, HBondSpec, load_spec
from hbcoop_dist.campaigns.hbond.task_graph import PROTOCOL_VERSION, ChainTask
from hbcoop_dist.campaigns.kind import CampaignKind, Comparison, Exporter, Labels, RowLabels
from hbcoop_dist.campaigns.model_tasks import FragmentResult
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.core.results import Label, Lookup, Record, TaskResult
from hbcoop_dist.store.codec import payload_types
from hbcoop_dist.store.schema import Schema
from hbcoop_dist.structures.chains import CELL_DIMS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from hbcoop_dist.analysis.report_content import Report, ReportOptions
    from hbcoop_dist.execution.scheduler import MakeWork
    from hbcoop_dist.models.sources import ModelSource
    from hbcoop_dist.optimize.quasi_newton import State


class HBondKind(CampaignKind[HBondSpec, Cell, ChainTask, ChainCellTasks]):
    """Chains of N-methylacetamide: constrained minimisations, fragment energies, Eq. 1 for every H-bond."""

    name: ClassVar[str] = "hbond"
    protocol_version: ClassVar[int] = PROTOCOL_VERSION
    schema: ClassVar[Schema] = HBOND_SCHEMA
    payloads: ClassVar[Mapping[str, type]] = payload_types(
        BodyStart, CandidateResult, FragmentResult, MinimumResult, MonomerResult
    )

    def load(self, path: Path) -> HBondSpec:
        return load_spec(path)

    def spec_from_json(self, text: str) -> HBondSpec:
        try:
            return HBondSpec.model_validate_json(text)
        except ValidationError as error:
            raise CampaignError(str(error)) from None

    def plan(self, spec: HBondSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> HBondPlan:
        return make_plan(spec, device=device, elsewhere=elsewhere)

    def decide(self, plan: HBondPlan, results: Callable[[str], TaskResult[Any] | None]) -> HBondPlan:
        chosen = choose_rotamers(plan, results)
        return make_plan(plan.spec, chosen, device=plan.device, elsewhere=plan.elsewhere)

    def work(self, plan: HBondPlan, arrays: Path) -> MakeWork:
        from hbcoop_dist.campaigns.hbond.worker import work_factory

        return work_factory(plan.sources, plan.spec.minimize)

    def records(self, plan: HBondPlan) -> Callable[[Cell, Lookup, Container[RowLabels]], list[Record]]:
        return record_builder(plan)

    def axis_labels(self, plan: HBondPlan) -> Mapping[str, Sequence[Label]]:
        return {dim: list(dict.fromkeys(getattr(cell, dim) for cell in plan.cells)) for dim in CELL_DIMS}

    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[Labels], bool]:
        from hbcoop_dist.analysis.requested_cells import requested_by_specs

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
        from hbcoop_dist.campaigns.cost_estimate import estimate_core_time

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
