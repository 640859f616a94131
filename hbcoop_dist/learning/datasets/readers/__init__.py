"""Readers of file formats, one class per format that yields structures by number."""
