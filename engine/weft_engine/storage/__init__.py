"""The only room that touches the disk: one SQLite file, its writer thread and its readers."""
