"""Where a training stands, in memory and in a file: parameters, optimiser, average, the best so far, the curve.

Nothing else decides how it goes on: learning rates and the order of structures follow from the number of the step.  A
file that cannot be read, or is another training's, costs a start from the beginning, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hbcoop_dist.learning.networks.network import Network
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.trained_files import Curve, Trained
from hbcoop_dist.learning.training.budget import Budget

_COLUMNS = ("step", "training_loss", "validation_loss", "energy_mae", "forces_rmse", "seconds")


class TrainingState:
    """A training under way.

    Parameters
    ----------
    spec : NetworkSpec
    budget : Budget
    device : str
    identity : str
        What decides the result; a file of another identity is not read.
    """

    def __init__(self, spec: NetworkSpec, budget: Budget, device: str, identity: str) -> None:
        self.budget, self.identity = budget, identity
        self.network = Network(spec).to(device=device, dtype=getattr(torch, budget.dtype))
        self.names, self.live = zip(*_trained(self.network), strict=True)
        self.optimiser = torch.optim.Adam(self.live, lr=budget.learning_rate, amsgrad=True, fused=True)
        self.averaged = [one.detach().clone() for one in self.live]
        self.best = [one.clone() for one in self.averaged]
        self.step, self.loss_sum, self.loss_count, self.seconds = 0, 0.0, 0, 0.0
        self.rows: list[list[float]] = []

    def apply(self, loss: torch.Tensor) -> tuple[float, float]:
        """One step down a loss; its value and the norm of its gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.budget.rate(self.step)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.live, self.budget.largest_gradient)
        self.optimiser.step()
        live = [one.detach() for one in self.live]
        move = get_ema_multi_avg_fn(self.budget.decay(self.step))  # type: ignore[no-untyped-call]
        move(self.averaged, live, self.step)
        value = float(loss.detach())
        self.step, self.loss_sum, self.loss_count = self.step + 1, self.loss_sum + value, self.loss_count + 1
        return value, float(norm)

    @contextlib.contextmanager
    def average(self) -> Iterator[Network]:
        """The network with averaged parameters in it."""
        kept = [one.detach().clone() for one in self.live]
        _fill(self.live, self.averaged)
        try:
            yield self.network
        finally:
            _fill(self.live, kept)

    def note(self, validation_loss: float, energy_mae: float, forces_rmse: float) -> None:
        """Add a row to the curve; the averaged parameters are kept if they are the best so far."""
        if validation_loss < min((row[2] for row in self.rows), default=float("inf")):
            self.best = [one.clone() for one in self.averaged]
        mean = self.loss_sum / max(self.loss_count, 1)
        self.rows.append([self.step, mean, validation_loss, energy_mae, forces_rmse, self.seconds])
        self.loss_sum, self.loss_count = 0.0, 0

    def trained(self) -> Trained:
        """What has been trained so far."""
        columns = dict(zip(_COLUMNS, np.array(self.rows).T, strict=True))
        best = {name: value.cpu().numpy() for name, value in zip(self.names, self.best, strict=True)}
        fixed = {name: one.detach().cpu().numpy() for name, one in self.network.named_parameters() if name not in best}
        return Trained(
            spec=self.network.spec,
            budget=self.budget,
            parameters={**fixed, **best},
            n_parameters=sum(value.size for value in best.values()),
            curve=Curve(**{**columns, "step": columns["step"].astype(np.int64)}),
            seconds=self.seconds,
        )

    def write(self, path: Path) -> None:
        """Write it down; a reader sees the file before or the file after, and a full disk costs only the file."""
        kept = {
            "identity": self.identity,
            "live": [one.detach() for one in self.live],
            "averaged": self.averaged,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "rows": self.rows,
            "now": [self.step, self.loss_sum, self.loss_count, self.seconds],
        }
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with contextlib.suppress(OSError, RuntimeError):
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(kept, partial)
            os.replace(partial, path)

    def read(self, path: Path) -> bool:
        """Go on from a file; whether there was one of this training."""
        device = self.live[0].device
        try:
            kept = torch.load(path, map_location=device, weights_only=True)
            if kept["identity"] != self.identity:
                return False
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
            return False
        _fill(self.live, kept["live"])
        self.averaged, self.best, self.rows = kept["averaged"], kept["best"], kept["rows"]
        self.optimiser.load_state_dict(kept["optimiser"])
        self.step, self.loss_sum, self.loss_count, self.seconds = kept["now"]
        return True


def _trained(network: Network) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, one) for name, one in network.named_parameters() if one.requires_grad]


def _fill(into: Any, values: Any) -> None:
    with torch.no_grad():
        for one, value in zip(into, values, strict=True):
            one.copy_(value)
