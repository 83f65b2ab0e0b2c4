"""Tests of the contract: types, refusals, samples and upcasters."""
