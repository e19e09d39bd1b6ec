"""Proof: probes, the chain of evidence with its six links, grades, and the conditions that follow."""
