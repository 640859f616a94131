"""Constrained, batched minimisation of hydrogen-bonded chains and of free complexes."""
