"""Tests of the demo: what people do, and the story as a whole."""
