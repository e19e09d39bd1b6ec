"""The planner: desired and observed state in, a plan out. Pure: no I/O, no clock, no logging.

What is skipped comes back with a reason; what looks like an accident is refused by `reconciler.plan.guard`.
"""
