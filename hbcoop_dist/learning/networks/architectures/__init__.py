"""Architectures of networks, one file each."""
