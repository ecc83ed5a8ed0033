"""The yardstick: the invocation path between two sidecars with everything left out that a sidecar is for.

HTTP/1 from the caller, one `CallLocalStream` message each way through the C-backed protobuf classes over
HTTP/2 with constant header blocks, HTTP/1 to the app. One process per hop. No routes, limits, policies,
metrics, tokens, errors or flow control towards a slow reader: what the design cannot go below without
leaving the protobuf envelope.
"""
