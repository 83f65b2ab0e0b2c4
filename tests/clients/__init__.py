"""The Python client, against a server that misbehaves as told."""
