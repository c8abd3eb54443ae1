"""The whole loop in one process: the memory bus, a virtual clock, a seed. The same seed gives the same bytes."""
