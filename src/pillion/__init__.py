"""Pillion: a portable, event-driven distributed application runtime that speaks Dapr's wire."""

__version__ = "0.1.0"

DAPR_VERSION = "1.18.0"
"""The Dapr release whose wire this version follows; what `runtimeVersion` reports."""
