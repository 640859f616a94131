"""What Slurm says of our jobs, in one call for all of them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hbcoop_dist.clusters.slurm_job import clean_environ

Fate = Literal["lives", "ending", "taken", "expired", "died"]
"""Of a job: ``taken`` from us by Slurm, a person or a dead node; ``expired`` at the end of its walltime; ``died`` of
what it did itself."""
ENDED = frozenset({"taken", "expired", "died"})

_FATES: Mapping[str, Fate] = {
    "COMPLETING": "ending",
    "CANCELLED": "taken",
    "TIMEOUT": "expired",
    "DEADLINE": "expired",
    "NODE_FAIL": "taken",
    "BOOT_FAIL": "taken",
    "PREEMPTED": "taken",
    "REVOKED": "taken",
    "FORGOTTEN": "taken",
    # of itself, in the middle of a batch: a step that ran out of memory may end so (seen)
    "COMPLETED": "died",
    "FAILED": "died",
    "OUT_OF_MEMORY": "died",
}


QUEUE_SECONDS = 60.0
CANCEL_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class SlurmState:
    """One job as squeue shows it.

    Attributes
    ----------
    state : str
        Slurm's word, e.g. ``RUNNING``, or ours for one that Slurm knows no more, ``FORGOTTEN``.
    ends : float or None
        When its walltime ends, seconds since the epoch; None while it waits.
    node : str
    reason : str
        Why it waits, or why it ended.
    """

    state: str
    ends: float | None = None
    node: str = ""
    reason: str = ""

    @property
    def fate(self) -> Fate:
        return _FATES.get(self.state, "lives")


def parse_queue(text: str) -> dict[str, SlurmState]:
    """Jobs by id from lines ``id|state|end|node|reason``."""
    found = {}
    for line in text.splitlines():
        # a site may greet its users in between
        if line.count("|") < 4:
            continue
        job, state, end, node, reason = line.split("|", 4)
        try:
            ends = datetime.fromisoformat(end).timestamp()
        except ValueError:
            ends = None
        found[job] = SlurmState(state, ends, node, reason)
    return found


async def cancel_at_once(jobs: Sequence[str]) -> None:
    """Cancel jobs by id, a hundred per call: a call each is a flood for the controller."""
    for start in range(0, len(jobs), CANCEL_AT_ONCE):
        command = ["scancel", "--quiet", *jobs[start : start + CANCEL_AT_ONCE]]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=clean_environ()
        )
        try:
            # one that has ended is refused, which is what is wanted
            await asyncio.wait_for(process.wait(), QUEUE_SECONDS)
        except TimeoutError:
            process.kill()


def cancel_jobs(jobs: Mapping[str, str]) -> None:
    """Cancel jobs, by id and only under the names they had: what a driver that was killed left behind."""
    for job, name in jobs.items():
        command = ["scancel", "--quiet", "--me", f"--name={name}", job]
        # one that has ended is refused, which is what is wanted
        subprocess.run(command, env=clean_environ(), capture_output=True, check=False, timeout=60)


async def read_queue() -> dict[str, SlurmState]:
    """The user's jobs, ended ones too as long as Slurm remembers them (five minutes by default).

    Raises
    ------
    OSError
        When squeue fails, as it does while the controller restarts: nothing is known then, of any job.
    """
    command = ("squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%e|%N|%r")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=clean_environ()
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), QUEUE_SECONDS)
    except TimeoutError:
        process.kill()
        raise OSError(f"squeue: no answer within {QUEUE_SECONDS:.0f} s") from None
    if process.returncode != 0:
        raise OSError(f"squeue: {err.decode(errors='replace').strip()}")
    return parse_queue(out.decode(errors="replace"))
