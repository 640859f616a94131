"""References: geometries minimised elsewhere, and quantum-chemical energies that were computed at the bundled ones.

Sets of geometries: `ReferenceSet`, `read_reference_set`; those that come with the package: `bundled_geometries`,
`bundled_geometry`. Energies at them: `reference_energies`, `reference_runs`; beside those of a CSV file,
`read_references`. What others have printed: `published_values`. A name that was mistyped: `near`. What they are and how
they were made: README.md beside this file.
"""

from hbcoop_dist.core.suggestions import near
from hbcoop_dist.references.bundled import (
    bundled_geometries,
    bundled_geometry,
    published_values,
    reference_energies,
    reference_runs,
)
from hbcoop_dist.references.geometry_sets import ReferenceSet, ReferenceSetError, read_reference_set
from hbcoop_dist.references.reference_tables import ReferenceTableError, read_references

__all__ = [
    "ReferenceSet",
    "ReferenceSetError",
    "ReferenceTableError",
    "bundled_geometries",
    "bundled_geometry",
    "near",
    "published_values",
    "read_reference_set",
    "read_references",
    "reference_energies",
    "reference_runs",
]
