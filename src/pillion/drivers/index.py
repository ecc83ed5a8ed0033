"""Every driver by type and version: where its class lives, imported on first use.

Third parties add rows through the `pillion.drivers` entry-point group.
"""

from typing import Final

INDEX: Final[dict[str, dict[str, str]]] = {
    "state.in-memory/v1": {"at": "pillion.drivers.state.memory:MemoryStore"},
    "state.sqlite/v1": {"at": "pillion.drivers.state.sqlite:SqliteStore"},
    "state.redis/v1": {"at": "pillion.drivers.state.redis:RedisStore", "extra": "redis"},
    "pubsub.in-memory/v1": {"at": "pillion.drivers.pubsub.memory:MemoryPubSub"},
    "pubsub.sqlite/v1": {"at": "pillion.drivers.pubsub.sqlite:SqlitePubSub"},
    "pubsub.redis/v1": {"at": "pillion.drivers.pubsub.redis:RedisPubSub", "extra": "redis"},
    "bindings.cron/v1": {"at": "pillion.drivers.bindings.cron:CronBinding"},
    "bindings.http/v1": {"at": "pillion.drivers.bindings.http:HttpBinding"},
    "bindings.localstorage/v1": {"at": "pillion.drivers.bindings.localstorage:LocalStorageBinding"},
    "bindings.redis/v1": {"at": "pillion.drivers.bindings.redis:RedisBinding", "extra": "redis"},
    "secretstores.local.env/v1": {"at": "pillion.drivers.secrets.env:EnvSecrets"},
    "secretstores.local.file/v1": {"at": "pillion.drivers.secrets.file:FileSecrets"},
    "nameresolution.sqlite/v1": {"at": "pillion.drivers.names.sqlite:SqliteNames"},
    "nameresolution.mdns/v1": {"at": "pillion.drivers.names.mdns:MdnsNames"},
    "nameresolution.static/v1": {"at": "pillion.drivers.names.static:StaticNames"},
}
"""`category.type/version` to the class and, where it needs more than the core install, the extra's name."""
