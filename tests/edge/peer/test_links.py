"""The connections to other sidecars."""

from support.waiting import eventually

from pillion.edge.peer.links import Links
from pillion.net.grpc.channel import GrpcChannel


async def test_idle_connections_are_looked_for_as_often_as_asked() -> None:
    links = Links(lambda address: GrpcChannel("127.0.0.1", int(address)), idle=0, every=0.01)
    links.give(links.take("1"))
    assert len(links) == 1
    await eventually(lambda: len(links) == 0)
    await links.close()
