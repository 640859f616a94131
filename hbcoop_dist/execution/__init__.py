"""Scheduling of batches on workers."""
