"""Cooperative energies (Eq. 1 of Feng, Xu and Huang 2025) from fragment energies."""
