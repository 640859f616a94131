"""Splits of a set by chemical space, and how far apart their sides are."""
