"""The models of this distribution keep the contract; the distribution must be installed."""

from __future__ import annotations

from hbcoop_dist.testing.models import ModelContract


class TestMyModel(ModelContract):
    """What `hbcoop models check my-model` measures, asserted."""

    family = "my_model"
