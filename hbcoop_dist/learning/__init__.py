"""Labelled sets, splits, networks and their training: what a generalization campaign is made of."""
