"""Frozen nouns of the runtime and the catalogue of faults a client can see."""
