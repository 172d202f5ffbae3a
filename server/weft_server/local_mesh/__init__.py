"""``weft mesh``: a mesh of real relays on this machine, with a bad network between them."""
