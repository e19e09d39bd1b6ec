"""Drills: deliberate exercises of stickiness, failover and recovery, by requests that only the drill can affect.

Every request of a drill carries a probe token: its bindings, counters and cooldowns live in a namespace of its own,
faults are injected in the gateway only, and times are shortened there. So drills run in production and touch nobody.
"""

from reconciler.proof.drills.model import DRILLS, DrillKey, DrillReason, DrillResult, DrillTarget
from reconciler.proof.drills.runner import DrillRunner
from reconciler.proof.drills.targets import demanded, targets

__all__ = [
    "DRILLS",
    "DrillKey",
    "DrillReason",
    "DrillResult",
    "DrillRunner",
    "DrillTarget",
    "demanded",
    "targets",
]
