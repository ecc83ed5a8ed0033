"""Dapr's HTTP API."""
