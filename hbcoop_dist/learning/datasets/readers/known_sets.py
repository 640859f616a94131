"""Sets that many have: known by the names of what their rows hold; under which terms, and what to cite.

Licences and levels of theory are those of the sets' own pages (QMOF's README and fairchem's documentation, 2026).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A set that is recognised.

    Attributes
    ----------
    name : str
    keys : frozenset of str
        Names that its rows hold, all of them.
    licence, citation, level_of_theory : str
    page : str
        Where it comes from, and its terms stand.
    notes : tuple of str
        What to know before it is used.
    """

    name: str
    keys: frozenset[str]
    licence: str
    citation: str
    level_of_theory: str
    page: str
    notes: tuple[str, ...] = ()


KNOWN_SETS = (
    KnownSet(
        name="QMOF",
        keys=frozenset({"qmof_id"}),
        licence="CC BY 4.0",
        citation=(
            "Rosen et al., Matter 2021, 4, 1578, doi:10.1016/j.matt.2021.02.015; "
            "Rosen et al., npj Comput. Mater. 2022, 8, 112, doi:10.1038/s41524-022-00796-6"
        ),
        level_of_theory="PBE-D3(BJ), VASP",
        page="https://github.com/Andrew-S-Rosen/QMOF",
        notes=(
            "no forces: relaxed structures and their energies alone",
            "partial charges lie in qmof_structure_data.json: unpack the database to have them; some structures have "
            "none (require: [charges], skip_incomplete: true)",
        ),
    ),
    KnownSet(
        name="ODAC25",
        keys=frozenset({"mof_name", "energy_old", "fid"}),
        licence="CC BY 4.0",
        citation="Sriram et al., arXiv:2508.03162 (2025)",
        level_of_theory="PBE-D3(BJ), VASP",
        page="https://huggingface.co/facebook/ODAC25",
        notes=(
            "energy is that with dense k-points, energy_old that of the relaxation; the energy of adsorption, which "
            "has the same forces, is labels: {energy: energy_ads_corrected}, and empty in parts of the set",
            "no partial charges",
        ),
    ),
    KnownSet(
        name="OMol25",
        keys=frozenset({"data_id", "charge", "spin", "source"}),
        licence="CC BY 4.0",
        citation="Levine et al., arXiv:2505.08762 (2025)",
        level_of_theory="wB97M-V/def2-TZVPD, ORCA 6",
        page="https://huggingface.co/facebook/OMol25",
        notes=(
            "partial charges are Loewdin's; NBO's (labels: {charges: nbo_charges}) are missing in larger structures",
        ),
    ),
)


def known_set(keys: Collection[str]) -> KnownSet | None:
    """The set whose rows hold these names, None where it is none of them."""
    return next((one for one in KNOWN_SETS if one.keys.issubset(keys)), None)
