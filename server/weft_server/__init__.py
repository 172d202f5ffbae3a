"""The shells around the engine that talk to the world: the relay and the command `weft`."""
