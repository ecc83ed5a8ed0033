"""Checks every driver of a kind must pass: plain coroutines, usable from outside this repository."""
