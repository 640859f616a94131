"""Networks, their architectures and long-range schemes."""
