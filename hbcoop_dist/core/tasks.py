"""Tasks and the batches they travel in, as plain data: no torch, no I/O, no knowledge of a kind of campaign."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a worker needs to run something.

    Attributes
    ----------
    modules : tuple of str
        Modules that must be importable.
    packages : tuple of str
        Distributions whose versions decide the numbers; results record them.
    environment : str
        Python environment: ``main`` is ``requirements.lock``, any other NAME is ``environments/NAME.txt``. The pools
        of a cluster profile list the environments that they have.
    gpu : bool
        Whether there is a GPU code path. Without one the work runs on the CPU of any worker.
    """

    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: str = "main"
    gpu: bool = False


class Source(Protocol):
    """What runs a batch: a model, or a package such as the one that computes descriptors."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str:
        """Hash of the checkpoint, or the versions of the packages, that decide the results."""
        ...

    @property
    def licence(self) -> str: ...

    @property
    def citation(self) -> str: ...

    @property
    def needs(self) -> Requirements: ...

    @property
    def here(self) -> bool:
        """Whether the packages belong to this Python; otherwise only workers of another environment have them."""
        ...


class Task(Protocol):
    """One computation with a content-hash key."""

    @property
    def key(self) -> str: ...

    @property
    def model(self) -> str:
        """Name of the `Source` that runs it."""
        ...

    @property
    def leader(self) -> str | None:
        """Key of the task that it stays with when a batch is split; None for a task of its own."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs, each once."""
        ...


TaskT = TypeVar("TaskT", bound=Task)


@dataclass(frozen=True, slots=True)
class Batch(Generic[TaskT]):
    """Tasks of one source that one worker does in a row.

    Attributes
    ----------
    name : str
    model : str
        Name of the source.
    tasks : tuple of Task
        In the order in which they are done.
    """

    name: str
    model: str
    tasks: tuple[TaskT, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the results that come from outside the batch."""
        own = {task.key for task in self.tasks}
        return tuple(dict.fromkeys(key for task in self.tasks for key in task.inputs if key not in own))

    def part(self, name: str, tasks: Iterable[TaskT]) -> Batch[TaskT]:
        """Return a batch of some of the tasks under another name."""
        return replace(self, name=name, tasks=tuple(tasks))


def with_inputs(tasks: Mapping[str, TaskT], keys: Iterable[str]) -> set[str]:
    """Return keys of tasks together with those of all tasks that they depend on."""
    needed: set[str] = set()
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += tasks[key].inputs
    return needed


def canonical_json(content: Mapping[str, object]) -> str:
    """Return JSON without spaces and with sorted names, the same text in every process."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def content_key(text: str) -> str:
    """Return the key of a task: the first 32 hexadecimal digits of the SHA-256 of its content."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
