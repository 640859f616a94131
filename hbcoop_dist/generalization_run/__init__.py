"""Campaigns of the second kind: networks trained on parts of chemical space and tested on the rest."""

from hbcoop_dist.generalization_run.load import load_generalization
from hbcoop_dist.generalization_run.plan import GeneralizationPlan, plan
from hbcoop_dist.generalization_run.run import run
from hbcoop_dist.generalization_run.spec import GeneralizationSpec

__all__ = ["GeneralizationPlan", "GeneralizationSpec", "load_generalization", "plan", "run"]
