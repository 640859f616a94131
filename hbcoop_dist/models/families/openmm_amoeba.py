"""Make the amide of NMA one polarisation group, as it is in every peptide: the caps alone do not know each other.

AMOEBA's permanent multipoles are made for induction between groups only. The types of ACE name the N of every residue
as of their group, those of NME the C of every residue, and neither names the other: C=O and N-H of NMA would polarise
each other. Its dipole in the built monomer would be 4.76 D; with one group it is 3.78 D (experiment, gas: 3.73 D).

Write AMOEBA's terms of planar centres in internal coordinates: a context then takes 2 s to make, not 20 s of CPU.

OpenMM 8.6 spells the projection of an atom on a plane out in Cartesians, and differentiates that anew for every
context. Here p2 is the planar centre, and p1, p3, p4 are bonded to it.
"""

from __future__ import annotations

from typing import Any

_GROUPS = (("CA", "HA1", "HA2", "HA3"), ("C", "O", "N", "H"), ("CN", "HN1", "HN2", "HN3"))


def join_amides(multipoles: Any, topology: Any) -> None:
    """Rewrite who polarises whom inside every NMA of an OpenMM multipole force; a chain is a molecule."""
    distances = (
        multipoles.PolarizationCovalent11,
        multipoles.PolarizationCovalent12,
        multipoles.PolarizationCovalent13,
        multipoles.PolarizationCovalent14,
    )
    for chain in topology.chains():
        places = {atom.name: atom.index for atom in chain.atoms()}
        if "CA" not in places:
            continue
        groups = [[places[name] for name in group] for group in _GROUPS]
        for mine, group in enumerate(groups):
            for atom in group:
                for apart, distance in enumerate(distances):
                    others = [groups[g] for g in (mine - apart, mine + apart) if 0 <= g < len(groups)]
                    multipoles.setCovalentMap(atom, distance, sorted({other for one in others for other in one}))


_DEGREES = "57.2957795130823"
# Height of p2 over the plane of the other three, in units of distance(p2,p4). A sine: OpenMM takes the arc cosine of
# 1 - height^2 / 2, which leaves half of the digits near the mirror plane.
_HEIGHT = "sin(angle(p2,p4,p1))*sin(dihedral(p2,p4,p1,p3))"
_GEOMETRY = {
    "AmoebaOutOfPlaneBendForce": f"theta={_DEGREES}*abs(asin({_HEIGHT}))",
    # angle p1, foot of p2 on the plane, p3
    "AmoebaInPlaneAngleForce": (
        f"theta={_DEGREES}*acos((distance(p1,p2)*distance(p2,p3)*cos(angle(p1,p2,p3))-square)"
        "/sqrt((distance(p1,p2)^2-square)*(distance(p2,p3)^2-square)));"
        f" square=(distance(p2,p4)*{_HEIGHT})^2"
    ),
}


def shorten_terms(system: Any) -> None:
    """Replace the geometry of the two terms; their polynomials and parameters stay the force field's."""
    for force in system.getForces():
        if geometry := _GEOMETRY.get(force.getName()):
            polynomial, _, _ = force.getEnergyFunction().partition("theta =")
            force.setEnergyFunction(polynomial + geometry)
