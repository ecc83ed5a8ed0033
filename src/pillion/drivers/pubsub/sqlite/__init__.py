"""The embedded broker: its tables, its consumers, how processes wake each other, and its upkeep."""

from pillion.drivers.pubsub.sqlite.driver import SqlitePubSub

__all__ = ["SqlitePubSub"]
