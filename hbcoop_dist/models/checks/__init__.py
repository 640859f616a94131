"""What `hbcoop models check` measures."""
