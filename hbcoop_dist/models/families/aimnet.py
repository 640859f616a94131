"""AIMNet2: message passing with charges that spread over the molecule, explicit Coulomb and D3 terms; package aimnet.

Energies are those of the package's own calculator, all pairs in the Coulomb sum, one call per list of structures.  It
runs in float64 here: the package rounds what it is given to float32 and has to be told otherwise in three places.
Charges are spread so that they sum to the total charge of the whole system, however far apart its molecules are, so
the energy of molecules far apart is not the sum of theirs: `ModelCard.extensive` is False, and the contract measures by
how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.models.neighbour_graphs import to_numpy
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

_URL = "https://storage.googleapis.com/aimnetcentral/aimnet2v2/AIMNet2"


def _card(name: str, file: str, level: str, sha256: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="aimnet",
        level_of_theory=level,
        licence="MIT (package aimnet; no other terms come with its weights)",
        citation="Anstine, Zubatyuk and Isayev, Chem. Sci. 2025, 16, 10228, doi:10.1039/D4SC08572H",
        elements=(1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53),
        checkpoint=file,
        sha256=sha256,
        url=f"{_URL}/{file}",
        charges=True,
        cutoff=5.0,
        layers=3,
        long_range=True,
        gpu=True,
        extensive=False,
        requires=("torch", "aimnet"),
        packages=("torch", "aimnet", "nvalchemi-toolkit-ops", "warp-lang"),
    )


# the first of each ensemble of four; the others are a checkpoint of this family each
CARDS = (
    _card(
        "aimnet2",
        "aimnet2_wb97m_d3_0.pt",
        "wB97M-D3(BJ)/def2-TZVPP",
        "f0f7c054539ad3261bd36f9b11c56d12f87cb723e25bea7521755bbd3ec24e28",
    ),
    _card(
        "aimnet2-b973c",
        "aimnet2_b973c_d3_0.pt",
        "B97-3c",
        "7ec7a3db67bd3a393ad59647d4020398deeb041c07dba1c9cf212d226268e549",
    ),
    _card(
        "aimnet2-2025",
        "aimnet2_2025_b973c_d3_0.pt",
        "B97-3c",
        "043ed5418a104e31f79462f8e5ebeca64a2d24422174f5d29f894d32271981b5",
    ),
)


@dataclass(frozen=True, slots=True)
class AimnetPotential:
    """A loaded AIMNet2 network; see `hbcoop_dist.models.base.Potential`. Every structure is neutral, a singlet."""

    card: ModelCard
    parameter_hash: str
    device: str
    calculator: Any

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate all structures in one call of the package's calculator."""
        if not structures:
            return []
        require_elements(self.card, structures)
        sizes = [len(structure) for structure in structures]
        found = self.calculator.eval(
            {
                "coord": np.concatenate([structure.positions for structure in structures]),
                "numbers": np.concatenate([structure.numbers for structure in structures]),
                "mol_idx": np.repeat(np.arange(len(sizes)), sizes),
                "charge": np.zeros(len(sizes)),
            },
            forces=forces,
        )
        ends = np.cumsum(sizes)[:-1]
        energies = to_numpy(found["energy"]).reshape(-1)
        charges = np.split(to_numpy(found["charges"]), ends)
        slopes = np.split(to_numpy(found["forces"]), ends) if forces else [None] * len(sizes)
        return [
            Evaluation(float(energy), forces=slope, charges=mine)
            for energy, slope, mine in zip(energies, slopes, charges, strict=True)
        ]


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> AimnetPotential:
    """Load a checkpoint in the package's format of plain tensors (``.pt``).

    Raises
    ------
    ModelError
        When there is no checkpoint, it is one of TorchScript (code, whatever it holds), or no AIMNet2 network for the
        card's elements.
    """
    import torch

    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint, found none")
    if dtype not in ("float64", "float32"):
        raise ModelError(f"model {card.name}: expected float64 or float32, found {dtype}")
    if checkpoint.suffix.lower() == ".jpt":
        raise ModelError(
            f"model {card.name}: expected plain tensors (.pt), found TorchScript: {checkpoint}; "
            "aimnet.models.convert of the package, or its published .pt file, helps"
        )
    calculator = _read(card, checkpoint, device)
    about = calculator.metadata
    if missing := sorted(set(card.elements) - set(about["implemented_species"])):
        raise ModelError(
            f"model {card.name}: expected a network in {checkpoint} for all its elements, found none for {missing}"
        )
    kind = getattr(torch, dtype)
    _set_float_type(calculator, kind)
    known = replace(
        card,
        cutoff=float(calculator.cutoff),
        layers=len(calculator.model.mlps),
        long_range=calculator.lr,
    )
    parameters = {name: value.cpu().numpy() for name, value in calculator.model.state_dict().items()}
    return AimnetPotential(known, checkpoints.parameter_hash(parameters), device, calculator)


def _read(card: ModelCard, path: Path, device: str) -> Any:
    import warp

    warp.config.log_level = warp.LOG_ERROR  # it greets on standard output, and tells of every kernel it compiles
    try:
        from aimnet.calculators import AIMNet2Calculator

        # deterministic: D3 by torch, the other way is a kernel in float32
        return AIMNet2Calculator(str(path.absolute()), device=device, deterministic=True)
    except ImportError:
        raise
    except Exception as error:
        raise ModelError(f"model {card.name}: {path} is no AIMNet2 network: {type(error).__name__}: {error}") from error


def _set_float_type(calculator: Any, kind: torch.dtype) -> None:
    """Calculator and network round what comes to float32, whatever type the parameters of the network have."""
    import torch

    def instead(value: torch.dtype) -> torch.dtype:
        return kind if value is torch.float32 else value

    for part in (calculator.model, calculator.external_coulomb, calculator.external_dftd3):
        if part is not None:
            part.to(kind)
    calculator.keys_in = {name: instead(value) for name, value in calculator.keys_in.items()}
    calculator.keys_in_optional = {name: instead(value) for name, value in calculator.keys_in_optional.items()}
    network = calculator.model
    network._required_keys_dtype = [instead(value) for value in network._required_keys_dtype]
    network._optional_keys_dtype = [instead(value) for value in network._optional_keys_dtype]
