"""Clients towards the hosts' data planes, behind `contract.UpstreamClient`; one conformance suite for all."""
