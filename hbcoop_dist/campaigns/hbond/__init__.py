"""Hydrogen-bonded chains."""
