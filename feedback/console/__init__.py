"""The first page: the state of the loop at a glance, rendered on the server, no script, no other host."""
