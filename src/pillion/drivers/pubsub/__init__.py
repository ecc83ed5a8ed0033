"""Drivers of kind pubsub, one file each."""
