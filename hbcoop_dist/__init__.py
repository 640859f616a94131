"""How well machine-learning force fields reproduce hydrogen-bond cooperativity, at the scale of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.kind import Plan, load_campaign, plan
    from hbcoop_dist.campaigns.runner import Summary, run
    from hbcoop_dist.campaigns.spec_fields import CampaignError
    from hbcoop_dist.store import open_store
else:
    # importing any module of the package runs this one first, so what it imports would slow down every command
    _MODULES = {
        "CampaignError": "campaigns.spec_fields",
        "Plan": "campaigns.kind",
        "Summary": "campaigns.runner",
        "load_campaign": "campaigns.kind",
        "open_store": "store",
        "plan": "campaigns.kind",
        "run": "campaigns.runner",
    }

    def __getattr__(name):
        """Import a public name at its first use (PEP 562)."""
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value


__all__ = ["CampaignError", "Plan", "Summary", "load_campaign", "open_store", "plan", "run"]
