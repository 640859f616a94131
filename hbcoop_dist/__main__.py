"""Run the command line as ``python -m hbcoop_dist``."""

from hbcoop_dist.cli.command_line import main

if __name__ == "__main__":
    main()
