"""One file per long-range scheme."""
