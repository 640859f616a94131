"""Contract suites as a pytest plug-in."""
