"""A complete kind of campaign in one file, from the public face for plug-ins alone: powers of whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from hbcoop_dist.plugin import (
    Axis,
    Batch,
    CampaignKind,
    CampaignSpec,
    Label,
    Plan,
    Provenance,
    Record,
    Requirements,
    Schema,
    Table,
    TaskResult,
    canonical_json,
    content_key,
    package_versions,
    read_spec,
    status_variables,
    variables,
)

DIMS = ("base", "exponent")


class PowersSpec(CampaignSpec):
    kind: Literal["powers"]
    bases: tuple[int, ...]
    exponents: tuple[int, ...]

    @property
    def protocol(self) -> dict[str, object]:
        return {"kind": self.kind}


@dataclass(frozen=True, slots=True)
class PowerCell:
    base: str
    exponent: int

    @property
    def source(self) -> str:
        return "multiplication"


@dataclass(frozen=True, slots=True)
class Multiplication:
    name: str = "multiplication"
    identity: str = "1"
    licence: str = "none"
    citation: str = "Euclid, Elements IX"
    needs: Requirements = field(default_factory=lambda: Requirements(modules=("numpy",), packages=("numpy",)))
    here: bool = True


@dataclass(frozen=True, slots=True)
class PowerTask:
    key: str
    base: int
    exponent: int
    model: str = "multiplication"
    leader: str | None = None
    lower: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return () if self.lower is None else (self.lower,)


@dataclass(frozen=True, slots=True)
class Power:
    """Result of a task."""

    value: int


@dataclass(frozen=True, slots=True)
class PowerTasks:
    keys: tuple[str, ...]

    @property
    def final_key(self) -> str:
        return self.keys[-1]


@dataclass(frozen=True, slots=True)
class PowerWork:
    batch: Batch[PowerTask]
    inputs: Mapping[str, TaskResult[Power]]

    def do(self) -> list[TaskResult[Power]]:
        known = dict(self.inputs)
        for task in self.batch.tasks:
            lower = 1 if task.lower is None else known[task.lower].payload_as(Power).value
            provenance = Provenance(host="here", versions=package_versions("numpy"))
            known[task.key] = TaskResult(task.key, "done", payload=Power(lower * task.base), provenance=provenance)
        return [known[task.key] for task in self.batch.tasks]


SCHEMA = Schema(
    kind="powers",
    title="Powers of whole numbers",
    axes=(Axis("base", "str", "number that is multiplied"), Axis("exponent", "int64", "how often", order="sorted")),
    tables=(
        Table(
            "cell",
            "Powers",
            DIMS,
            (
                *status_variables(DIMS, "power"),
                *variables(
                    DIMS,
                    ("power", "int64", "1", "base multiplied exponent times"),
                    ("task_key", "str", "", "content hash of the task"),
                    ("versions", "str", "", "package versions on the worker (JSON)"),
                ),
            ),
            status="status",
            reason="reason",
            key="task_key",
            versions="versions",
            required=("power",),
        ),
    ),
    partition="base",
)

PowersPlan = Plan[PowersSpec, PowerCell, PowerTask, PowerTasks]


class PowersKind(CampaignKind[PowersSpec, PowerCell, PowerTask, PowerTasks]):
    spec_class = PowersSpec
    name: ClassVar[str] = "powers"
    protocol_version: ClassVar[int] = 1
    schema: ClassVar[Schema] = SCHEMA
    payloads: ClassVar[Mapping[str, type]] = {"Power": Power}
    multiplication: ClassVar[Multiplication] = Multiplication()

    def load(self, path: Path) -> PowersSpec:
        return read_spec(path, PowersSpec)

    def plan(self, spec: PowersSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> PowersPlan:
        return make_plan(spec, self.multiplication)

    def work(self, plan: PowersPlan, kept: Path) -> Any:
        return lambda batch, inputs, device, scratch: PowerWork(batch, inputs)

    def records(self, plan: PowersPlan) -> Callable[[PowerCell, Any, Container[Any]], list[Record]]:
        def records(cell: PowerCell, results: Any, written: Container[Any]) -> list[Record]:
            result = results(plan.cell_tasks[cell].final_key)
            values = {"task_key": result.key, "versions": result.provenance.versions}
            if result.payload is not None:
                values["power"] = result.payload.value
            labels = {"base": cell.base, "exponent": cell.exponent}
            return [Record("cell", labels, result.status, result.reason, values)]

        return records

    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[tuple[Label, ...]], bool]:
        grids = [spec for spec in specs if "bases" in spec and "exponents" in spec]
        return lambda labels: any(int(labels[0]) in spec["bases"] and labels[1] in spec["exponents"] for spec in grids)


def make_plan(spec: PowersSpec, source: Multiplication) -> PowersPlan:
    tasks: dict[str, PowerTask] = {}
    cell_tasks: dict[PowerCell, PowerTasks] = {}
    for base in spec.bases:
        keys: tuple[str, ...] = ()
        for exponent in range(1, max(spec.exponents) + 1):
            key = content_key(canonical_json({"base": base, "exponent": exponent, "identity": source.identity}))
            tasks[key] = PowerTask(key, base, exponent, lower=keys[-1] if keys else None)
            keys = (*keys, key)
            if exponent in spec.exponents:
                cell_tasks[PowerCell(str(base), exponent)] = PowerTasks(keys)
    batches = tuple(Batch(f"power {task.base} {task.exponent}", task.model, (task,)) for task in tasks.values())
    return Plan(spec, tuple(cell_tasks), {source.name: source}, {}, tasks, batches, cell_tasks)


KIND = PowersKind()
