"""The pillion command line."""
