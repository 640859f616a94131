"""The contract suite of architectures on all built-in architectures that can run here."""

from __future__ import annotations

from hbcoop_dist.testing.architectures import *  # noqa: F403
