"""What the command line shows, one file per subject; `hbcoop_dist.cli` only parses."""
