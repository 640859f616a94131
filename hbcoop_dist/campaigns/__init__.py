"""Campaign kinds over one runner."""
