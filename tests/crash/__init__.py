"""The promise, proven by killing processes: nothing acknowledged is lost, doubled or torn."""
