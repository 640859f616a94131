"""Networks: hyperparameters, architectures, long-range schemes, and trained networks in files."""
