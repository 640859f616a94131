"""Labelled sets, splits, networks with long-range schemes, and their training."""
