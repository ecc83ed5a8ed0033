"""The log of the app channel."""

import logging

log = logging.getLogger("dapr.runtime.channels")
