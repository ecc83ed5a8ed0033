"""Connections shared by the drivers of one vendor."""
