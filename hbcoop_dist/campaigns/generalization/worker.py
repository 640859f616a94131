"""Work of generalization campaigns, in the worker: label, read, describe, split, map, train, evaluate.

A task that fails gives a result with a reason, and the other tasks of the batch go on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbcoop_dist.campaigns.generalization.array_files import write_arrays
from hbcoop_dist.campaigns.generalization.tasks import EvaluationResult, SplitResult, TrainingResult, TrainingTask
from hbcoop_dist.core.failures import Failure
from hbcoop_dist.core.results import Provenance, TaskResult, now, package_versions
from hbcoop_dist.core.tasks import Batch, Source

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.generalization.dataset_parts import SetOfTask

Result = TaskResult[Any]


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """One batch with everything that a worker needs.

    Attributes
    ----------
    batch : Batch of TrainingTask
    source : Source
        Labelling model, descriptors or architecture.
    inputs : mapping of str to TaskResult
        Results of tasks outside the batch, by key.
    device : str
    scratch : str or None
        Folder where trainings write the state that they resume from.
    arrays : str
        Folder of results that are too large for the journal.
    """

    batch: Batch[TrainingTask]
    source: Source
    inputs: Mapping[str, Result]
    device: str
    scratch: str | None
    arrays: str

    def do(self) -> list[Result]:
        """Do every task of the batch; the results are in the order of the tasks."""
        known = dict(self.inputs)
        for task in self.batch.tasks:
            started = time.perf_counter()
            result = self._result(task, known)
            known[task.key] = replace(result, seconds=time.perf_counter() - started)
        return [known[task.key] for task in self.batch.tasks]

    def _result(self, task: TrainingTask, known: Mapping[str, Result]) -> Result:
        provenance = self._provenance()
        for key in task.inputs:
            if known[key].status != "done":
                reason = f"an input is not available: {known[key].reason}"
                return TaskResult(task.key, "failed", reason, provenance=provenance)
        try:
            payload = self._payload(task, known)
        except Exception as error:
            failure = Failure.of(error)
            if failure.kind == "out of memory":
                # another worker, or a smaller batch, may have room
                raise
            return TaskResult(task.key, "failed", failure.reason, provenance=provenance)
        if isinstance(payload, TrainingResult):
            network = payload.network
            provenance = replace(provenance, parameter_hash=network.parameter_hash, dtype=network.budget.dtype)
        return TaskResult(task.key, "done", payload=payload, provenance=provenance)

    def _payload(self, task: TrainingTask, known: Mapping[str, Result]) -> Any:
        from hbcoop_dist.campaigns.generalization import dataset_parts

        arrays = Path(self.arrays)
        labelled = dataset_parts.SetOfTask(task.data, known, arrays)
        steps: Mapping[str, Callable[[], Any]] = {
            "label": lambda: dataset_parts.labelled_chunk(task.data.entry, task.chunk, self._device),
            "read": lambda: write_arrays(arrays, task.key, dataset_parts.read_part(task.data, *task.rows)),
            "describe": lambda: write_arrays(arrays, task.key, dataset_parts.describe_part(labelled.structures()[0])),
            "split": lambda: dataset_parts.split_set(task, labelled),
            "map": lambda: dataset_parts.map_set(labelled),
            "train": lambda: self._train(task, labelled, known),
            "evaluate": lambda: self._evaluate(task, labelled, known),
        }
        return steps[task.kind]()

    def _train(self, task: TrainingTask, labelled: SetOfTask, known: Mapping[str, Result]) -> TrainingResult:
        from hbcoop_dist.campaigns.generalization.training_tasks import train_network

        assert task.divided is not None
        checkpoint = None if self.scratch is None else Path(self.scratch) / f"{task.key}.npz"
        return train_network(task, labelled, known[task.divided].payload_as(SplitResult), checkpoint, self._device)

    def _evaluate(self, task: TrainingTask, labelled: SetOfTask, known: Mapping[str, Result]) -> EvaluationResult:
        from hbcoop_dist.campaigns.generalization.training_tasks import evaluate_network

        assert task.divided is not None
        assert task.trained is not None
        sides, trained = known[task.divided], known[task.trained]
        return evaluate_network(
            labelled, sides.payload_as(SplitResult), trained.payload_as(TrainingResult), self._device
        )

    @property
    def _device(self) -> str:
        return self.device if self.source.needs.gpu else "cpu"

    def _provenance(self) -> Provenance:
        return Provenance(
            host=socket.gethostname(),
            device=self._device,
            dtype="float64",
            parameter_hash=self.source.identity,
            versions=package_versions(*self.source.needs.packages, "hbcoop_dist"),
            computed_at=now(),
        )


def work_factory(sources: Mapping[str, Source], arrays: Path) -> Callable[..., TrainingWork]:
    """Return the function that makes the work of a batch; `arrays` is the folder of large results."""

    def make_work(
        batch: Batch[TrainingTask], inputs: Mapping[str, Result], device: str, scratch: str | None
    ) -> TrainingWork:
        return TrainingWork(batch, sources[batch.model], inputs, device, scratch, str(arrays))

    return make_work
