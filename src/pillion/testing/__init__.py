"""Published test kit: conformance checks, a hand-turned clock, an in-memory app."""
