"""Write AMOEBA's terms of planar centres in internal coordinates: a context then takes 2 s to make, not 20 s of CPU.

OpenMM 8.6 spells the projection of an atom on a plane out in Cartesians, and differentiates that anew for every
context. Here p2 is the planar centre, and p1, p3, p4 are bonded to it.
"""

from __future__ import annotations

from typing import Any

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
