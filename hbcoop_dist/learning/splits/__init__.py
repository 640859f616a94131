"""Splits of a set by chemical space."""
