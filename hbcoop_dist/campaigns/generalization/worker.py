"""What a worker does with one batch of a generalization campaign: label, read, describe, divide, train, test.

Everything that arrives and leaves is plain data.  A task that fails is a result with a reason; its neighbours go on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hbcoop_dist.campaigns.generalization.array_files import keep, opened
from hbcoop_dist.campaigns.generalization.tasks import KEPT, TrainingTask
from hbcoop_dist.campaigns.hbond.worker import versions_of
from hbcoop_dist.core.failures import Failure
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.models.sources import ModelSource, PackageSource

Found = tuple[dict[str, object], dict[str, str]]
"""Data and provenance of a result."""


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """One batch with all a worker needs to do it.

    Attributes
    ----------
    batch : Batch of TrainingTask
    source : ModelSource or PackageSource
        Of the teacher, the descriptors or the architecture.
    inputs : mapping of str to TaskResult
        Results of tasks outside the batch, by key.
    device : str
    scratch : str or None
        Folder where trainings leave how far they are.
    kept : str or None
        Folder of results that are too large for the journal.
    """

    batch: Batch[TrainingTask]
    source: ModelSource | PackageSource
    inputs: Mapping[str, TaskResult]
    device: str = "cpu"
    scratch: str | None = None
    kept: str | None = None

    def do(self) -> list[TaskResult]:
        """Results in the order of the batch's tasks."""
        known = {key: self._opened(result) for key, result in self.inputs.items()}
        provenance = _provenance(self.source, self.device)
        results: list[TaskResult] = []
        for task in self.batch.tasks:
            started = time.perf_counter()
            found = replace(self._result(task, known, provenance), seconds=time.perf_counter() - started)
            results.append(found)
            known[task.key] = self._opened(found)
        return results

    def _opened(self, result: TaskResult) -> TaskResult:
        return replace(result, data=opened(result, self._kept))

    @property
    def _kept(self) -> Path | None:
        return None if self.kept is None else Path(self.kept)

    def _result(self, task: TrainingTask, known: Mapping[str, TaskResult], provenance: dict[str, str]) -> TaskResult:
        for key in task.inputs:
            if known[key].status != "done":
                return TaskResult(
                    task.key, "failed", f"what it needs is not there: {known[key].reason}", {}, provenance
                )
        steps: Mapping[str, Callable[[TrainingTask, Mapping[str, TaskResult]], Found]] = {
            "label": self._label,
            "read": self._read,
            "describe": self._describe,
            "split": self._split,
            "map": self._map,
            "train": self._train,
            "evaluate": self._evaluate,
        }
        try:
            data, more = steps[task.kind](task, known)
            if task.kind in KEPT and self._kept is not None:
                data = keep(self._kept, task.key, data)
        except Exception as error:
            failure = Failure.of(error)
            if failure.kind == "out of memory":
                # another worker, or a smaller batch, may have room
                raise
            return TaskResult(task.key, "failed", failure.reason, {}, provenance)
        return TaskResult(task.key, "done", "", data, provenance | more)

    def _label(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.dataset_parts import labelled_chunk

        del known
        return labelled_chunk(task.data.entry, task.chunk, self._device), {}

    def _read(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.dataset_parts import read_part

        del known
        return read_part(task.data, *task.rows), {}

    def _describe(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.dataset_parts import described_part, structures_of

        return described_part(structures_of(task.data, known)), {}

    def _split(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.split_tasks import divided

        assert task.training is not None
        return divided(task.data, known, task.split, task.seed, task.training.validation), {}

    def _map(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.split_tasks import mapped

        return mapped(task.data, known), {}

    def _train(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.training_tasks import trained

        assert task.divided is not None
        checkpoint = None if self.scratch is None else Path(self.scratch) / f"{task.key}.npz"
        data = trained(task, known, known[task.divided], checkpoint, self._device)
        return data, {"parameter_hash": str(data["parameter_hash"]), "dtype": _dtype(task)}

    def _evaluate(self, task: TrainingTask, known: Mapping[str, TaskResult]) -> Found:
        from hbcoop_dist.campaigns.generalization.training_tasks import evaluated

        assert task.divided is not None
        assert task.trained is not None
        return evaluated(task.data, known, known[task.divided], known[task.trained], self._device), {}

    @property
    def _device(self) -> str:
        return self.device if self.source.needs.gpu else "cpu"


def making(sources: Mapping[str, ModelSource | PackageSource], kept: str | None = None) -> Callable[..., TrainingWork]:
    """What makes the work of a batch (`execute.MakeWork`); `kept` is the folder of large results."""

    def make(
        batch: Batch[TrainingTask], inputs: Mapping[str, TaskResult], device: str, scratch: str | None
    ) -> TrainingWork:
        return TrainingWork(batch, sources[batch.model], inputs, device, scratch, kept)

    return make


def _dtype(task: TrainingTask) -> str:
    assert task.training is not None
    return task.training.dtype


def _provenance(source: ModelSource | PackageSource, device: str) -> dict[str, str]:
    return {
        "host": socket.gethostname(),
        "device": device if source.needs.gpu else "cpu",
        "dtype": source.card.abilities.dtype if isinstance(source, ModelSource) else "float64",
        "parameter_hash": source.identity,
        "versions": versions_of(*source.needs.packages, "hbcoop_dist"),
        "computed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
