"""Tests, one folder per room of the package; shared fixtures are in conftest.py."""
