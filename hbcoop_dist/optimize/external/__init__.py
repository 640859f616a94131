"""Optimizers of other packages, as cross-checks of our own."""
