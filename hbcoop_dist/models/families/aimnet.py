"""AIMNet2: message passing with charges equilibrated over the system, explicit Coulomb and D3 terms; package aimnet.

Energies are those of the package's own calculator, with all pairs in the Coulomb sum, one call per list of structures.
They are computed in float64; the package rounds its input to float32 and has to be changed in three places. Charges are
distributed such that they sum to the charge of the whole system, however far apart its molecules are, so that the
energy is not extensive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.batching import split_atoms, to_numpy
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class AimnetPotential(base.Potential):
    """A loaded AIMNet2 network. Every structure is neutral and a singlet.

    Attributes
    ----------
    calculator : aimnet.calculators.AIMNet2Calculator
    """

    calculator: Any

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures in one call of the package's calculator."""
        sizes = [len(structure) for structure in structures]
        output = self.calculator.eval(
            {
                "coord": np.concatenate([structure.positions for structure in structures]),
                "numbers": np.concatenate([structure.numbers for structure in structures]),
                "mol_idx": np.repeat(np.arange(len(sizes)), sizes),
                "charge": np.zeros(len(sizes)),
            },
            forces=forces,
        )
        energies = to_numpy(output["energy"]).reshape(-1)
        all_charges = split_atoms(structures, to_numpy(output["charges"]))
        slopes = split_atoms(structures, to_numpy(output["forces"]) if forces else None)
        return [
            base.Evaluation(float(energy), forces=slope, charges=charges)
            for energy, slope, charges in zip(energies, slopes, all_charges, strict=True)
        ]


class AimnetFamily(base.ModelFamily):
    """Checkpoints of plain tensors (``.pt``); TorchScript files contain code and are refused."""

    cards = published_cards("aimnet")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> AimnetPotential:
        import torch

        path = base.require_checkpoint(card, checkpoint, dtype)
        if path.suffix.lower() == ".jpt":
            raise base.ModelError(
                f"model {card.name}: expected plain tensors (.pt), found TorchScript: {path}; "
                "convert it with aimnet.models.convert, or use the published .pt file"
            )
        calculator = _read(card, path, device)
        if missing := sorted(set(card.about.elements) - set(calculator.metadata["implemented_species"])):
            raise base.ModelError(
                f"model {card.name}: expected a network in {path} for all its elements, found none for {missing}"
            )
        _set_float_type(calculator, getattr(torch, dtype))
        precise = card.with_fields(
            cutoff=float(calculator.cutoff), layers=len(calculator.model.mlps), long_range=calculator.lr
        )
        parameters = {name: value.cpu().numpy() for name, value in calculator.model.state_dict().items()}
        return AimnetPotential(precise, checkpoints.parameter_hash(parameters), device, calculator)


FAMILY = AimnetFamily()


def _read(card: base.ModelCard, path: Path, device: str) -> Any:
    import warp

    # Warp prints a greeting and every kernel that it compiles.
    warp.config.log_level = warp.LOG_ERROR
    try:
        from aimnet.calculators import AIMNet2Calculator

        # deterministic: D3 in torch; the default is a kernel in float32.
        return AIMNet2Calculator(str(path.absolute()), device=device, deterministic=True)
    except ImportError:
        raise
    except Exception as error:
        raise base.ModelError(
            f"model {card.name}: {path} is no AIMNet2 network: {type(error).__name__}: {error}"
        ) from error


def _set_float_type(calculator: Any, kind: torch.dtype) -> None:
    """Change the float type of calculator and network, which round their input to float32 in three places."""
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
