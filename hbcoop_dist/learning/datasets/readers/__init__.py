"""Readers of labelled structures in files."""
