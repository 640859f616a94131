"""Orb: graph networks of Orbital Materials, from orb-models; a checkpoint is a state dict.

Graphs (the nearest neighbours within a cutoff) and networks are the package's, one graph batch per list of structures.
The energy head of every Orb network averages the features of all atoms before its own network, so the energy of
molecules far apart is not the sum of theirs: `ModelCard.extensive` is False, and the contract measures by how much.
Where only the 20 nearest neighbours count, energies and forces jump when the twentieth changes: `ModelCard.smooth`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
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

_V2 = "Neumann et al., 2024, arXiv:2410.22570"
_V3 = "Rhodes et al., 2025, arXiv:2504.06231"
_URL = "https://orbitalmaterials-public-models.s3.us-west-1.amazonaws.com/forcefields"
_CUTOFF = 6.0  # A, of every network of the package
_UNLIMITED = 120  # neighbours, of the networks the package calls unlimited: NMA has not half of that within the cutoff
_MPTRJ = tuple(z for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
_OMOL = tuple(range(1, 84))


def _card(name: str, file: str, citation: str, level: str, elements: tuple[int, ...], layers: int) -> ModelCard:
    conservative = "conservative" in name
    return ModelCard(
        name=name,
        family="orb",
        level_of_theory=level,
        licence="Apache-2.0 (orb-models, its pretrained models too)",
        citation=citation,
        elements=elements,
        checkpoint=file.rpartition("/")[2],
        url=f"{_URL}/{file}",
        cutoff=_CUTOFF,
        layers=layers,
        gpu=True,
        requires=("torch", "orb_models"),
        packages=("torch", "orb-models"),
        # the paper's own limit for orb-v2, 4.6 kcal/mol/A: direct forces do not get smaller
        max_force=None if conservative else 0.2,
        forces_are_gradient=conservative,
        rotation_invariant=False,
        extensive=False,
        smooth="inf" in name or "omol" in name,
        options={"architecture": name},
    )


_PBE = "PBE (MPTrj and Alexandria)"
_OMAT = "PBE, PBE+U (OMat24)"
_WB97 = "wB97M-V/def2-TZVPD (OMol25)"
CARDS = (
    _card("orb-v2", "orb-v2-20241011.ckpt", _V2, _PBE, _MPTRJ, 15),
    _card("orb-d3-v2", "orb-d3-v2-20241011.ckpt", _V2, f"{_PBE}, D3(BJ)", _MPTRJ, 15),
    _card("orb-d3-sm-v2", "orb-d3-sm-v2-20241011.ckpt", _V2, f"{_PBE}, D3(BJ)", _MPTRJ, 10),
    _card("orb-d3-xs-v2", "orb-d3-xs-v2-20241011.ckpt", _V2, f"{_PBE}, D3(BJ)", _MPTRJ, 5),
    *(
        _card(f"orb-v3-{kind}-{data}", f"orb-v3/orb-v3-{kind}-{data}-20250404.ckpt", _V3, level, _MPTRJ, 5)
        for data, level in (("20-omat", _OMAT), ("inf-omat", _OMAT), ("20-mpa", _PBE), ("inf-mpa", _PBE))
        for kind in ("conservative", "direct")
    ),
    _card("orb-v3-conservative-omol", "orb-v3-conservative-omol-20250820.ckpt", _V3, _WB97, _OMOL, 5),
    _card("orb-v3-direct-omol", "orb-v3-direct-omol-20250820.ckpt", _V3, _WB97, _OMOL, 5),
)
_CHARGE, _SPIN = 0, 1  # total charge; multiplicity, as OMol25 counts spin
_OLD_HEADS = {"graph_head.": "heads.energy.", "node_head.": "heads.forces."}


@dataclass(frozen=True, slots=True)
class OrbPotential:
    """A loaded Orb network; see `hbcoop_dist.models.base.Potential`. There are no energies of atoms to read off."""

    card: ModelCard
    parameter_hash: str
    device: str
    network: Any
    dtype: torch.dtype

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate all structures as one graph batch."""
        if not structures:
            return []
        require_elements(self.card, structures)
        import torch

        # a conservative network differentiates within its own forward pass, whatever is asked for
        conservative = self.card.forces_are_gradient
        with _as_default(self.dtype), torch.set_grad_enabled(conservative):
            found = self.network.predict(self._graphs(structures))
        energies = to_numpy(found["energy"]).reshape(-1)
        if not forces:
            return [Evaluation(float(energy)) for energy in energies]
        slopes = to_numpy(found["grad_forces" if conservative else "forces"])
        ends = np.cumsum([len(structure) for structure in structures])[:-1]
        return [
            Evaluation(float(energy), forces=part)
            for energy, part in zip(energies, np.split(slopes, ends), strict=True)
        ]

    def _graphs(self, structures: Sequence[Structure]) -> Any:
        from orb_models.forcefield.atomic_system import ase_atoms_to_atom_graphs
        from orb_models.forcefield.base import batch_graphs

        graphs = []
        for structure in structures:
            atoms = structure.to_ase()
            atoms.info |= {"charge": _CHARGE, "spin": _SPIN}
            graphs.append(
                ase_atoms_to_atom_graphs(
                    atoms,
                    self.network.system_config,
                    device=self.device,
                    output_dtype=self.dtype,
                    graph_construction_dtype=self.dtype,
                )
            )
        return batch_graphs(graphs)


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> OrbPotential:
    """Load a state dict into the network that the card's option ``architecture`` names in orb-models.

    Raises
    ------
    ModelError
        When there is no checkpoint, the architecture is unknown, or the state dict is not one of it.
    """
    import torch

    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint, found none")
    if dtype not in ("float64", "float32"):
        raise ModelError(f"model {card.name}: expected float64 or float32, found {dtype}")
    name = str(card.options["architecture"])
    kind = getattr(torch, dtype)
    with _as_default(kind):
        from orb_models.forcefield.pretrained import ORB_PRETRAINED_MODELS as KNOWN

        if name not in KNOWN:
            raise ModelError(f"model {card.name}: expected an architecture of orb-models, found {name!r}")
        precision = "float64" if dtype == "float64" else "float32-highest"
        # reading goes through the package's own cache of downloads, which knows a plain path by itself
        try:
            network = KNOWN[name](weights_path=str(checkpoint), device=device, precision=precision, compile=False)
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ModelError(
                f"model {card.name}: {checkpoint} is no state dict of {name}: {type(error).__name__}: {error}"
            ) from error
    _require_heads(card, checkpoint, network, state)
    conservative = hasattr(network, "grad_forces_name")
    known = replace(
        card,
        cutoff=float(network.system_config.radius),
        layers=int(network.model.num_message_passing_steps),
        forces_are_gradient=conservative,
        smooth=int(network.system_config.max_num_neighbors) >= _UNLIMITED,
    )
    parameters = {key: value.numpy() for key, value in network.cpu().state_dict().items()}
    digest = checkpoints.parameter_hash(parameters)
    return OrbPotential(known, digest, device, network.to(device), kind)


def _require_heads(card: ModelCard, path: Path, network: Any, state: Mapping[str, Any]) -> None:
    """The package leaves a head at random values where the state dict has none; what we read off must be there."""
    names = set(state)
    for old, new in _OLD_HEADS.items():
        names |= {new + name.removeprefix(old) for name in state if name.startswith(old)}
    wanted = {name for name in network.state_dict() if name.startswith(("heads.energy.", "heads.forces."))}
    if lacking := sorted(wanted - names):
        raise ModelError(
            f"model {card.name}: expected energy and force heads of {card.options['architecture']} in {path}, "
            f"found no {', '.join(lacking[:3])}"
        )


@contextlib.contextmanager
def _as_default(kind: torch.dtype) -> Iterator[None]:
    """The package takes constants (the log 2 of an activation) in torch's default float type, and sets it for good."""
    import torch

    before, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    torch.set_default_dtype(kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_float32_matmul_precision(precision)
