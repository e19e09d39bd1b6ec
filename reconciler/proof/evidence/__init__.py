"""Evidence: a proof as a signed file that anyone can check later, offline.

An in-toto Statement in a DSSE envelope, signed with Ed25519. The key is the operator's: a signature proves who
recorded what, not that a host is honest.
"""
