"""Dapr's YAML with line numbers: what a person configures, as frozen nouns; every mistake collected."""
