"""Dapr's YAML with line numbers."""
