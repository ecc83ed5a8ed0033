"""Sidecar to sidecar."""
