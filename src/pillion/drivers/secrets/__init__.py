"""Drivers of kind secrets, one file each."""
