"""`pilliond --wait`: another process's readiness, asked from outside."""

import sys
import time
import urllib.error
import urllib.request

from pillion.host.flags import Flags


def wait(flags: Flags) -> int:
    """Poll a sidecar on this machine until it can serve outgoing calls."""
    url = f"http://localhost:{flags.dapr_http_port}/v1.0/healthz/outbound"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status < 300:
                    return 0
                why = str(answer.status)
        except (urllib.error.URLError, OSError) as error:
            why = str(error)
        sys.stdout.write(f"Dapr outbound NOT ready yet: Get {url!r}: {why}\n")
        sys.stdout.flush()
        time.sleep(0.1)
    return 1
