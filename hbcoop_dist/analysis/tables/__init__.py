"""Dataset to table."""
