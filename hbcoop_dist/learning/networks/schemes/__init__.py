"""Long-range schemes, one file each."""
