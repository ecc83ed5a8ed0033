"""HTTP/1.1 on the wire: how heads are written and how each end of one connection behaves."""
