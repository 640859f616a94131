"""Campaigns of the second kind: networks trained on parts of chemical space and tested on the rest."""
