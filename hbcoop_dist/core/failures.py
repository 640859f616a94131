"""What went wrong with a batch, in plain words: an exception's own type may not exist where it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["out of memory", "bad structure", "missing checkpoint", "missing package", "lost worker", "code"]
KINDS: tuple[str, ...] = get_args(Kind)


class LostWorkerError(Exception):
    """The process that did a batch died, or was killed, before it answered.

    Parameters
    ----------
    reason : str
    blamed : bool
        Whether the batch may have been the cause: it was being done, and nobody outside ended the process.
    expired : bool
        Whether the walltime of the job ended while the batch was being done.
    """

    def __init__(self, reason: str, blamed: bool = True, expired: bool = False) -> None:
        super().__init__(reason)
        self.blamed, self.expired = blamed, expired


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a batch has no results.

    Attributes
    ----------
    kind : str
        One of `KINDS`; what `hbcoop retry --match` looks for first.
    text : str
        Type and message of the exception.
    blamed : bool
        False where something outside ended the worker, so that it says nothing of the batch.
    expired : bool
        Whether that something was the walltime: a batch that no walltime has room for would be begun for ever.
    """

    kind: Kind
    text: str
    blamed: bool = True
    expired: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Classify an exception."""
        text = f"{type(error).__name__}: {error}".strip()
        if isinstance(error, LostWorkerError):
            return cls("lost worker", str(error), error.blamed, error.expired)
        return cls(_kind(error), text)

    @property
    def reason(self) -> str:
        return f"{self.kind}: {self.text}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports that memory ran out, on the host or on a device.

    Exceptions are recognised by name and message, since the packages that raise them need not be importable here:
    ``MemoryError``, torch's ``OutOfMemoryError``, CUDA's "out of memory", Warp's "Failed to allocate", and the "can't
    allocate memory" of torch's allocator on the CPU.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error).lower()
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(
        text in message for text in ("out of memory", "failed to allocate", "can't allocate memory")
    )


def _kind(error: BaseException) -> Kind:
    """By name: torch's and a family's own types need not be importable here."""
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error).lower()
    if is_out_of_memory(error):
        return "out of memory"
    if names & {"UnknownElementError", "ReadError"}:
        return "bad structure"
    if names & {"CheckpointError", "FileNotFoundError"} or "checkpoint" in message:
        return "missing checkpoint"
    if names & {"ImportError"} or "not installed here" in message:
        return "missing package"
    return "code"
