"""How events reach the server: queued, spooled, sent again until they are answered for."""
