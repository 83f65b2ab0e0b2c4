"""The documentation is true: every example runs, everything that people rely on is described."""
