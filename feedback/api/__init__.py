"""The read side over HTTP: each route in a module of its own, on the queries of `streams.queries`."""
