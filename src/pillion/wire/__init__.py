"""Protobuf classes and the codecs between wire and model."""
