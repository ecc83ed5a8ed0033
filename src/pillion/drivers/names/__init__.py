"""Drivers of kind names, one file each."""
