"""Transports without domain: HTTP/1.1, HTTP/2, gRPC, TLS."""
