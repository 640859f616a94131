"""Trained networks as plain arrays, and as ``.npz`` files with text beside them: nothing pickled, no torch."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.core.arrays import AnyArray, FloatArray, IntArray
from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.models import checkpoints

FORMAT = 1
_PARAMETER, _CURVE = "parameter/", "curve/"


class TrainedFileError(Exception):
    """A file is not a trained network; the message names it, what was expected and what was found."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Learning curve with one value for each of V validations.

    Attributes
    ----------
    step : (V,) int array
        Steps done.
    training_loss : (V,) array
        Mean training loss since the previous validation.
    validation_loss : (V,) array
        Loss of energies and forces, weighted as in training.
    energy_mae : (V,) array
        MAE of the energy per atom, eV.
    forces_rmse : (V,) array
        RMSE of force components, eV/A; NaN without reference forces.
    seconds : (V,) array
        Wall-clock time of the training so far, s.
    """

    step: IntArray
    training_loss: FloatArray
    validation_loss: FloatArray
    energy_mae: FloatArray
    forces_rmse: FloatArray
    seconds: FloatArray

    @property
    def best_step(self) -> int:
        """Steps done at the lowest validation loss, whose parameters are kept."""
        return int(self.step[int(np.argmin(self.validation_loss))])


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network.

    Attributes
    ----------
    spec : NetworkSpec
        With the values fitted to the training set.
    budget : Budget
    parameters : mapping of str to array
        Averaged parameters at the lowest validation loss.
    n_parameters : int
        Number of trained values.
    curve : Curve
    seconds : float
        Wall-clock time, s, without time lost to interruptions.
    """

    spec: NetworkSpec
    budget: Budget
    parameters: Mapping[str, AnyArray]
    n_parameters: int
    curve: Curve
    seconds: float

    @property
    def parameter_hash(self) -> str:
        """Hash of the parameters, independent of the file that they are stored in."""
        return checkpoints.parameter_hash(self.parameters)


@dataclass(frozen=True, slots=True)
class NetworkMetadata:
    """Facts for the model card of a trained network that are not in its `NetworkSpec`.

    Attributes
    ----------
    level_of_theory, licence, source : str
        Level of theory, terms and citation of the labels that it was trained on.
    long_range, extensive, charges : bool
        See `hbcoop_dist.learning.networks.network_module.Traits`.
    """

    level_of_theory: str
    licence: str
    source: str
    long_range: bool
    extensive: bool
    charges: bool


def write_trained(path: Path, trained: Trained, metadata: NetworkMetadata) -> None:
    """Write a network atomically; equal networks give equal bytes.

    Parameters
    ----------
    path : Path
    trained : Trained
    metadata : NetworkMetadata

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    text = {
        "format": FORMAT,
        "spec": asdict(trained.spec),
        "budget": asdict(trained.budget),
        "about": asdict(metadata),
        "n_parameters": trained.n_parameters,
        "seconds": trained.seconds,
    }
    arrays = {f"{_PARAMETER}{name}": value for name, value in trained.parameters.items()}
    arrays |= {f"{_CURVE}{entry.name}": getattr(trained.curve, entry.name) for entry in fields(Curve)}
    with atomic_write(path, sync=True) as file:
        np.savez(file, about=np.array(json.dumps(text, sort_keys=True)), **arrays)  # type: ignore[arg-type]


def read_trained(path: Path) -> tuple[Trained, NetworkMetadata]:
    """Read a network and its metadata.

    Raises
    ------
    TrainedFileError
        When the file is not readable or not a trained network of this format.
    """
    text, arrays = _read(path, with_arrays=True)
    curve = {name.removeprefix(_CURVE): value for name, value in arrays.items() if name.startswith(_CURVE)}
    parameters = {name.removeprefix(_PARAMETER): value for name, value in arrays.items() if name.startswith(_PARAMETER)}
    with _complete(path):
        spec, metadata = NetworkSpec.of(text["spec"]), NetworkMetadata(**text["about"])
        budget = Budget(**text["budget"])
        trained = Trained(spec, budget, parameters, text["n_parameters"], Curve(**curve), text["seconds"])
    return trained, metadata


def read_metadata(path: Path) -> tuple[NetworkSpec, NetworkMetadata]:
    """Read the spec and the metadata of a network without its parameters.

    Raises
    ------
    TrainedFileError
        When the file is not readable or not a trained network of this format.
    """
    text, _ = _read(path, with_arrays=False)
    with _complete(path):
        found = NetworkSpec.of(text["spec"]), NetworkMetadata(**text["about"])
    return found


@contextmanager
def _complete(path: Path) -> Iterator[None]:
    """Turn errors about missing or unknown fields into one that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise TrainedFileError(f"{path}: expected a trained network, found an incomplete one: {error!r}") from error


def _read(path: Path, *, with_arrays: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            text = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name != "about"} if with_arrays else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainedFileError(f"{path}: expected a trained network, found none: {error}") from error
    if text.get("format") != FORMAT:
        raise TrainedFileError(f"{path}: expected format {FORMAT}, found {text.get('format')}")
    return text, arrays
