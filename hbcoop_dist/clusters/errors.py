"""What goes wrong with a cluster as a whole; single workers that die are no error."""


class ClusterError(RuntimeError):
    """A profile that cannot be used, or a cluster that takes none of its jobs; the message says what was tried."""


class ClusterLostError(ClusterError):
    """A cluster that did some of the work and takes no jobs any more: what was computed is kept."""
