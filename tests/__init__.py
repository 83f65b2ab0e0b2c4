"""The tests, laid out as the rooms are; what every test may rely on is in `conftest.py`."""
