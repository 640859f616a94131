"""Labelled sets of structures: generated, labelled, read from files."""
