"""One hop: `python -m bench.floor back LISTEN APP`, `python -m bench.floor front LISTEN PEER`."""

import gc
import sys

import uvloop

from .hops import Back, Front


async def _serve(hop: str, listen: int, onward: int) -> None:
    server = await (Front().start(listen, onward) if hop == "front" else Back(onward).start(listen))
    gc.collect()
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
