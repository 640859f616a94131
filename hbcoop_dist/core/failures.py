"""Classify the exceptions of workers and keep them as text, and suggest names that resemble a mistyped one.

Text, since the types of the exceptions may not be importable in the driver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Kind = Literal["out of memory", "bad structure", "missing checkpoint", "missing package", "lost worker", "code"]


def suggestion(name: str, names: Iterable[str]) -> str:
    """End of an error message that lists the names which resemble `name`.

    Parameters
    ----------
    name : str
        The unknown name.
    names : iterable of str
        The valid names.

    Returns
    -------
    str
        For example ``; near: gfn2-xtb``; empty when nothing resembles `name`.
    """
    similar = get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; near: {', '.join(similar)}" if similar else ""


class LostWorkerError(Exception):
    """A worker process ended before it returned the results of a batch.

    Parameters
    ----------
    reason : str
        How the worker ended.
    blamed : bool
        Whether the batch may be the cause: it was running, and nothing outside ended the process.
    expired : bool
        Whether the walltime of the job ended while the batch was running.
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
        Class of the failure; ``hbcoop retry --match`` compares it first.
    text : str
        Type and message of the exception.
    blamed : bool
        False when something outside ended the worker, so that the failure does not count against the batch.
    expired : bool
        True when the walltime of the job ended. Such a batch needs a longer walltime, not another try.
    """

    kind: Kind
    text: str
    blamed: bool = True
    expired: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Failure that an exception stands for.

        Parameters
        ----------
        error : BaseException
            Exceptions of other packages are recognised by the names of their types and by their messages.

        Returns
        -------
        Failure
        """
        if isinstance(error, LostWorkerError):
            return cls("lost worker", str(error), error.blamed, error.expired)
        return cls(_kind(error), f"{type(error).__name__}: {error}".strip())

    @property
    def reason(self) -> str:
        """Kind and text, as the store keeps them."""
        return f"{self.kind}: {self.text}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports that memory ran out, on the host or on a device.

    Parameters
    ----------
    error : BaseException
        Recognised by name and message, since the package that raised it need not be importable here: ``MemoryError``,
        torch's ``OutOfMemoryError``, CUDA's "out of memory", torch's "can't allocate memory" on the CPU, Warp's "Failed
        to allocate".

    Returns
    -------
    bool
    """
    message = str(error).lower()
    return bool(_type_names(error) & {"MemoryError", "OutOfMemoryError"}) or any(
        text in message for text in ("out of memory", "can't allocate memory", "failed to allocate")
    )


def _kind(error: BaseException) -> Kind:
    names = _type_names(error)
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


def _type_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
