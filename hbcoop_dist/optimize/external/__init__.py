"""Optimisers of other packages, as cross-checks of the package's own minimiser."""
