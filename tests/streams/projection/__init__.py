"""Tests of what moves a store along its log."""
