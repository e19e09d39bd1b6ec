"""The conformance suite, run for every driver on every host there is to test it on."""

from __future__ import annotations

from tests.hosts import conformance


class TestReading(conformance.Reading):
    pass


class TestWriting(conformance.Writing):
    pass


class TestOwnership(conformance.Ownership):
    pass


class TestTrouble(conformance.Trouble):
    pass


class TestSecrecy(conformance.Secrecy):
    pass


class TestProving(conformance.Proving):
    pass
