"""Drivers of kind bindings, one file each."""
