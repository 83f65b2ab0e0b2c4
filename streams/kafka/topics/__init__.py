"""The topics of a log: made, checked, and what the promise requires of them."""
