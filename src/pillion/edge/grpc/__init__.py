"""Dapr's gRPC API."""
