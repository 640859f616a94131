"""Tasks without a campaign: their work returns a result at once, or fails as a test demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch, Requirements
from hbcoop_dist.execution.scheduler import BatchQueue


@dataclass(frozen=True, slots=True)
class FakeTask:
    """A task that fails with `error` if it has one."""

    key: str
    inputs: tuple[str, ...] = ()
    leader: str | None = None
    model: str = "a"
    error: str = ""


@dataclass(frozen=True, slots=True)
class FakeWork:
    """Work of a batch of fake tasks."""

    batch: Batch
    inputs: Mapping[str, TaskResult]
    device: str = "cpu"
    scratch: str | None = None

    def do(self) -> list[TaskResult]:
        if errors := [task.error for task in self.batch.tasks if task.error]:
            raise ValueError(errors[0])
        return [TaskResult(task.key, "done", seconds=1.0) for task in self.batch.tasks]


@dataclass(frozen=True, slots=True)
class FakeSource:
    """A source whose packages belong to the driver's Python unless a test says otherwise."""

    name: str
    needs: Requirements = field(default_factory=lambda: Requirements((), ()))
    here: bool = True
    identity: str = "0"
    licence: str = "MIT"
    citation: str = "none"


def batch_of(*tasks: FakeTask, name: str = "", model: str = "a") -> Batch:
    return Batch(name or f"{model} {tasks[0].key}", model, tasks)


def pair(number: int | str, **fields: object) -> tuple[FakeTask, FakeTask]:
    """A minimisation and the energies at its geometry, which need it and stay with it."""
    key = f"minimum {number}"
    return FakeTask(key, **fields), FakeTask(f"energies {number}", (key,), key)


def queue_of(*batches: Batch) -> BatchQueue:
    queue = BatchQueue(())
    for number, batch in enumerate(batches):
        queue.add((number,), batch)
    return queue
