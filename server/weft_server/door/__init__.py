"""Who may come in, and what with. Must never know: frames."""
