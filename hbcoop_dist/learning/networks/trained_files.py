"""A network that has been trained, as plain arrays: what a training gives, and what files and models are made from.

A trained network as one file: a ``.npz`` of its arrays with plain text beside them, nothing pickled, no torch.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.training.budget import Budget
from hbcoop_dist.models import checkpoints

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How a training went: one value per validation, V in all.

    Attributes
    ----------
    step : (V,) int array
        Steps done.
    training_loss : (V,) array
        Mean over the steps since the validation before.
    validation_loss : (V,) array
        Of energies and forces, weighted as in training.
    energy_mae : (V,) array
        Of the energy per atom, eV.
    forces_rmse : (V,) array
        Of force components, eV/A; NaN where there are no reference forces.
    seconds : (V,) array
        Wall-clock time of the training so far, s.
    """

    step: NDArray[np.int64]
    training_loss: FloatArray
    validation_loss: FloatArray
    energy_mae: FloatArray
    forces_rmse: FloatArray
    seconds: FloatArray

    @property
    def best_step(self) -> int:
        """Steps done when the parameters were as they are kept."""
        return int(self.step[int(np.argmin(self.validation_loss))])


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network.

    Attributes
    ----------
    spec : NetworkSpec
        With what was fitted to the training set.
    budget : Budget
    parameters : mapping of str to array
        Averaged ones, those of the lowest validation loss.
    n_parameters : int
        Numbers that were trained.
    curve : Curve
    seconds : float
        Wall-clock time, s, without that of what was lost to a kill.
    """

    spec: NetworkSpec
    budget: Budget
    parameters: Mapping[str, NDArray[np.generic]]
    n_parameters: int
    curve: Curve
    seconds: float

    @property
    def parameter_hash(self) -> str:
        """The same for every way of saving the same parameters."""
        return checkpoints.parameter_hash(self.parameters)


FORMAT = 1
_PARAMETER, _CURVE = "parameter/", "curve/"


class TrainedFileError(Exception):
    """A file is no trained network; the message names it, what was expected and found."""


@dataclass(frozen=True, slots=True)
class About:
    """What a model's card says of a trained network beside its `NetworkSpec`.

    Attributes
    ----------
    level_of_theory, licence, source : str
        Of the labels it was trained on: what they are, under which terms, and what to cite for them.
    long_range, extensive, charges : bool
        As in `hbcoop_dist.learning.networks.network_builder.Traits`.
    """

    level_of_theory: str
    licence: str
    source: str
    long_range: bool
    extensive: bool
    charges: bool


def write(path: Path, trained: Trained, about: About) -> None:
    """Write a network; a reader sees the file before or the file after.  The same network gives the same bytes."""
    text = {
        "format": FORMAT,
        "spec": json.loads(trained.spec.to_json()),
        "budget": json.loads(trained.budget.to_json()),
        "about": asdict(about),
        "n_parameters": trained.n_parameters,
        "seconds": trained.seconds,
    }
    arrays = {f"{_PARAMETER}{name}": value for name, value in trained.parameters.items()}
    arrays |= {f"{_CURVE}{one.name}": getattr(trained.curve, one.name) for one in fields(Curve)}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, about=np.array(json.dumps(text, sort_keys=True)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> tuple[Trained, About]:
    """Read a network.

    Raises
    ------
    TrainedFileError
        When the file is not readable or is no trained network of this format.
    """
    text, arrays = _read(path, everything=True)
    curve = {name.removeprefix(_CURVE): value for name, value in arrays.items() if name.startswith(_CURVE)}
    parameters = {name.removeprefix(_PARAMETER): one for name, one in arrays.items() if name.startswith(_PARAMETER)}
    try:
        spec, about = _described(text)
        budget = Budget.from_json(json.dumps(text["budget"]))
        trained = Trained(spec, budget, parameters, text["n_parameters"], Curve(**curve), text["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainedFileError(f"{path}: expected a trained network, found an incomplete one: {error!r}") from error
    return trained, about


def describe(path: Path) -> tuple[NetworkSpec, About]:
    """What a file says of its network, without reading the network.

    Raises
    ------
    TrainedFileError
        As `read` does.
    """
    text, _ = _read(path, everything=False)
    try:
        return _described(text)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainedFileError(f"{path}: expected a trained network, found an incomplete one: {error!r}") from error


def _described(text: dict[str, Any]) -> tuple[NetworkSpec, About]:
    spec = NetworkSpec.from_json(json.dumps(text["spec"]))
    return spec, About(**text["about"])


def _read(path: Path, *, everything: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            text = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name != "about"} if everything else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainedFileError(f"{path}: expected a trained network, found none: {error}") from error
    if text.get("format") != FORMAT:
        raise TrainedFileError(f"{path}: expected format {FORMAT}, found {text.get('format')}")
    return text, arrays
