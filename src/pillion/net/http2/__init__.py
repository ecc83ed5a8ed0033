"""HTTP/2 by hand: header compression, the connection both sides share, and HTTP spoken over it."""
