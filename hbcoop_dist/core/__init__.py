"""Tasks, results, failures and files: what every layer shares."""
