"""Long-range schemes: one file each, all behind the interface of `base`."""
