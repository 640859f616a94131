"""From the entry of a set in a spec to how its files are read."""

from __future__ import annotations

from hbcoop_dist.generalization.reading import Reading
from hbcoop_dist.generalization_run.spec import DatasetEntry


def reading_of(entry: DatasetEntry) -> Reading:
    """How the files of a set are read."""
    return Reading(
        energy_unit=entry.energy_unit,
        length_unit=entry.length_unit,
        keys=entry.labels,
        neutral_molecules=entry.neutral_molecules,
        require=entry.require,
        skip_incomplete=entry.skip_incomplete,
    )
