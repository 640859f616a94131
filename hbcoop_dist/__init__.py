"""How well machine-learning force fields reproduce hydrogen-bond cooperativity, at the scale of a cluster."""

from hbcoop_dist.campaigns.hbond.plan import Plan, plan
from hbcoop_dist.campaigns.hbond.spec import CampaignError, load_campaign
from hbcoop_dist.campaigns.runner import Summary, run
from hbcoop_dist.store import open_store

__all__ = ["CampaignError", "Plan", "Summary", "load_campaign", "open_store", "plan", "run"]
