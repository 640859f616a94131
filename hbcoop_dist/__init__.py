"""How well machine-learning force fields reproduce hydrogen-bond cooperativity, at the scale of a cluster."""

from hbcoop_dist.campaigns.kind import Plan
from hbcoop_dist.campaigns.loading import load_campaign, plan
from hbcoop_dist.campaigns.runner import Summary, run
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.store import open_store

__all__ = ["CampaignError", "Plan", "Summary", "load_campaign", "open_store", "plan", "run"]
