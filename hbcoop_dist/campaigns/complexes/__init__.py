"""Complexes with a marked pair."""
