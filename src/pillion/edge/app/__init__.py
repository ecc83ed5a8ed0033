"""Callbacks into the app, over HTTP or gRPC."""
