"""Decisions: pure, synchronous, no clock and no I/O."""
