"""Networks: hyperparameters, architectures, long-range schemes, and trained networks in files."""

from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkShape, NetworkSpec
from hbcoop_dist.learning.networks.registry import architecture_names, scheme_names
from hbcoop_dist.learning.networks.trained_files import Trained, TrainedFileError, read_trained, write_trained

__all__ = [
    "Budget",
    "NetworkShape",
    "NetworkSpec",
    "Trained",
    "TrainedFileError",
    "architecture_names",
    "read_trained",
    "scheme_names",
    "write_trained",
]
