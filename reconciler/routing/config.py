"""The configuration that routing decisions are made from: one immutable, validated document per revision.

The JSON form (snake_case, lists of objects) is what the control API stages and shows; `parse` turns it into
`Configuration` and `dump` back. Objects carry `managed_by`, the marker of who owns them; the gateway ignores it.
This is the place to import from; the parts live in `objects`, `index` and `document`.
"""

from __future__ import annotations

from reconciler.routing.document import (
    Document,
    InvalidConfiguration,
    digest,
    dump,
    field_schemas,
    parse,
    parse_steps,
)
from reconciler.routing.index import Candidate, Index, Offer
from reconciler.routing.objects import (
    BoundRoute,
    Configuration,
    Failover,
    KeyLimits,
    LogicalGroup,
    ManagedKey,
    ModelBinding,
    Route,
    ShadowHost,
    Sticky,
)

__all__ = [
    "BoundRoute",
    "Candidate",
    "Configuration",
    "Document",
    "Failover",
    "Index",
    "InvalidConfiguration",
    "KeyLimits",
    "LogicalGroup",
    "ManagedKey",
    "ModelBinding",
    "Offer",
    "Route",
    "ShadowHost",
    "Sticky",
    "digest",
    "dump",
    "field_schemas",
    "parse",
    "parse_steps",
]
