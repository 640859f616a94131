"""Training and evaluation of networks; importing this package imports torch."""

from hbcoop_dist.learning.training.evaluation import Errors, GroupErrors, InteractionErrors, evaluate
from hbcoop_dist.learning.training.training_loop import TrainingError, fit_baseline, train

__all__ = ["Errors", "GroupErrors", "InteractionErrors", "TrainingError", "evaluate", "fit_baseline", "train"]
