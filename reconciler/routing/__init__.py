"""The pure routing rules: configuration, resolve, failure classes, cooldown, sessions. No I/O, no clock, no logging.

The gateway decides by them and the planner computes its routing impact with them, so the two agree by construction.
"""
