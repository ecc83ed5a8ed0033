"""nameresolution.mdns: sidecars of one network segment found by multicast DNS."""

from pillion.drivers.names.mdns.driver import MdnsNames

__all__ = ["MdnsNames"]
