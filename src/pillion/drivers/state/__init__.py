"""Drivers of kind state, one file each."""
