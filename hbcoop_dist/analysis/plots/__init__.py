"""Dataset to figure."""
