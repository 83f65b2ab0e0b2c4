"""The topics of a log: made, checked, and what the promise demands of them."""
