"""Tests of what SQLite files share."""
