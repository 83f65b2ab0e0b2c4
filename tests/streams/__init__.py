"""Tests of how events move: contract suites for the ports, the order rule, crashes."""
