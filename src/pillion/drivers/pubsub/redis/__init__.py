"""pubsub.redis: topics as Redis Streams, in the layout of Dapr's driver."""

from pillion.drivers.pubsub.redis.driver import RedisPubSub

__all__ = ["RedisPubSub"]
