"""Whether this machine hears its own multicast: without it no test of mDNS can run."""

import socket

GROUP = "224.0.0.251"


def has_multicast() -> bool:
    """Whether a packet sent to the group of mDNS comes back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said,
    ):
        try:
            heard.bind(("", 0))
            heard.settimeout(1)
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + bytes(4))
            said.sendto(b"anybody", (GROUP, heard.getsockname()[1]))
            return heard.recv(16) == b"anybody"
        except OSError:
            return False
