"""Reference geometries, and quantum-chemical and published energies that models are compared with.

README.md in this folder describes the bundled data and how they were computed.
"""

from hbcoop_dist.references.bundled import (
    ReferenceSet,
    ReferenceSetError,
    ReferenceTableError,
    bundled_geometries,
    bundled_geometry,
    published_values,
    read_reference_set,
    read_references,
    reference_energies,
    reference_runs,
)

__all__ = [
    "ReferenceSet",
    "ReferenceSetError",
    "ReferenceTableError",
    "bundled_geometries",
    "bundled_geometry",
    "published_values",
    "read_reference_set",
    "read_references",
    "reference_energies",
    "reference_runs",
]
