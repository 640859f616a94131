"""Scheduling of batches on workers: queue, retries, backends, journaled results, and the display of progress."""
