"""The kind of campaign ``generalization``: networks trained on parts of chemical space and tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan, NetworkTasks, describe_plan, make_plan
from hbcoop_dist.campaigns.generalization.records import cell_records
from hbcoop_dist.campaigns.generalization.schema import GENERALIZATION_SCHEMA
from hbcoop_dist.campaigns.generalization.spec import (
    GeneralizationSpec,
    TrainingCell,
    load_spec,
    requested_by_specs,
)
from hbcoop_dist.campaigns.generalization.tasks import (
    PROTOCOL_VERSION,
    EvaluationResult,
    GroupResult,
    LabelResult,
    MapResult,
    SplitResult,
    StoredArrays,
    TrainingResult,
    TrainingTask,
)
from hbcoop_dist.campaigns.kind import CampaignKind, Exporter, Labels, RowLabels
from hbcoop_dist.core.results import Label, Lookup, Record, Value
from hbcoop_dist.learning.datasets.labelled_structures import PackedStructures
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.trained_files import Curve, NetworkMetadata, Trained
from hbcoop_dist.store.creation import Definitions
from hbcoop_dist.store.journal import payload_types
from hbcoop_dist.store.schema import Schema

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from hbcoop_dist.analysis.report_content import Report, ReportOptions
    from hbcoop_dist.execution.scheduler import MakeWork
    from hbcoop_dist.store import Journal


class GeneralizationKind(CampaignKind[GeneralizationSpec, TrainingCell, TrainingTask, NetworkTasks]):
    """Sets x splits x architectures x long-range schemes x seeds: one network each."""

    spec_class = GeneralizationSpec
    name: ClassVar[str] = "generalization"
    protocol_version: ClassVar[int] = PROTOCOL_VERSION
    schema: ClassVar[Schema] = GENERALIZATION_SCHEMA
    payloads: ClassVar[Mapping[str, type]] = payload_types(
        Budget,
        Curve,
        EvaluationResult,
        GroupResult,
        LabelResult,
        MapResult,
        NetworkMetadata,
        NetworkSpec,
        PackedStructures,
        SplitResult,
        StoredArrays,
        Trained,
        TrainingResult,
    )

    def load(self, path: Path) -> GeneralizationSpec:
        return load_spec(path)

    def plan(
        self, spec: GeneralizationSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()
    ) -> GeneralizationPlan:
        return make_plan(spec, device=device, elsewhere=elsewhere)

    def work(self, plan: GeneralizationPlan, arrays: Path) -> MakeWork:
        from hbcoop_dist.campaigns.generalization.worker import work_factory

        return work_factory(plan.sources, arrays)

    def records(self, plan: GeneralizationPlan) -> Callable[[TrainingCell, Lookup, Container[RowLabels]], list[Record]]:
        return lambda cell, results, written: cell_records(plan, cell, results, written)

    def definitions(self, plan: GeneralizationPlan) -> Definitions:
        definitions: dict[str, Mapping[Label, Value]] = {
            f"{dim}_definition": dict(texts.items()) for dim, texts in plan.spec.definitions().items()
        }
        return definitions

    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[Labels], bool]:
        return requested_by_specs(specs)

    def keys_to_retry(self, tasks: NetworkTasks, journal: Journal) -> Collection[str]:
        # a training that is done is not repeated because its evaluation failed
        return [key for key in tasks.keys if journal.status(key) != "done"]

    def lost_results(
        self, plan: GeneralizationPlan, pending: Collection[str], journal: Journal, arrays: Path
    ) -> set[str]:
        from hbcoop_dist.campaigns.generalization.array_files import lost_files

        return lost_files(plan.tasks, pending, journal, arrays)

    def cell_files(self, store: Path, cell: TrainingCell) -> Collection[Path]:
        from hbcoop_dist.campaigns.generalization.array_files import model_path

        return (model_path(store, cell),)

    def finish_cell(self, plan: GeneralizationPlan, store: Path, cell: TrainingCell, results: Lookup) -> None:
        from hbcoop_dist.campaigns.generalization.array_files import write_model

        write_model(store, cell, results(plan.cell_tasks[cell].trained).payload_as(TrainingResult))

    def describe(self, plan: GeneralizationPlan) -> str:
        return describe_plan(plan)

    def estimate(self, plan: GeneralizationPlan, store: Path) -> str:
        from hbcoop_dist.campaigns.generalization.plan import estimate_core_time

        return estimate_core_time(plan, store)

    def status(self, ds: xr.Dataset) -> Sequence[RenderableType]:
        from hbcoop_dist.analysis.tables.cells import status_summary

        return status_summary(ds, self.schema, ("dataset", "split"))

    def analyse(self, ds: xr.Dataset, against: str | None = None) -> Sequence[RenderableType]:
        from hbcoop_dist.analysis.reference_levels import ComparisonError
        from hbcoop_dist.analysis.tables.generalization import errors_in_terminal

        if against is not None:
            raise ComparisonError(f"expected no model beside a store of trained networks, found {against}")
        return [errors_in_terminal(ds)]

    def figure(self, ds: xr.Dataset) -> Figure:
        from hbcoop_dist.analysis.plots.generalization import errors_by_split

        return errors_by_split(ds)

    def exporters(self) -> Mapping[str, Exporter]:
        return {".csv": Exporter(_write_errors, "errors of networks, mean over seeds")}

    def report(self, ds: xr.Dataset, options: ReportOptions) -> Report:
        from hbcoop_dist.campaigns.generalization.report_pages import build_report

        return build_report(ds, options)


def _write_errors(ds: xr.Dataset, path: Path) -> str:
    from hbcoop_dist.analysis.claim_tests import errors_table

    frame = errors_table(ds)
    frame.to_csv(path, index=False)
    return f"{len(frame)} networks"


KIND = GeneralizationKind()
