"""Networks trained on parts of chemical space and tested elsewhere."""
