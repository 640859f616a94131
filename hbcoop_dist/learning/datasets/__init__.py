"""Labelled sets: structures, their generation and labelling, and files."""
