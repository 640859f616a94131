"""A surface as an ASE calculator: what the optimisers of ASE and Sella ask."""

from __future__ import annotations

from typing import Any, ClassVar

from ase.calculators.calculator import Calculator, all_changes

from hbcoop_dist.engine.external.surface import Surface


class SurfaceCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy and forces of a `Surface`; equal positions are evaluated once."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self.surface = surface

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Evaluate the surface where the atoms are."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.surface.evaluate(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}
