"""What proving a plan will cost, before anything is sent: requests and tokens by our own count, never money.

Money is known only afterwards, from the host's own cost columns, and only where the host has a price.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.manifest import ProviderAccount
from reconciler.plan.model import ChangeClass, Plan
from reconciler.plan.render import Proving
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey
from reconciler.proof.scope import Scope

_MADE = frozenset({ChangeClass.EXPAND, ChangeClass.REPLACE})


def proving(plan: Plan, scope: Scope, policy_of: Callable[[PathKey], Policy]) -> Proving:
    """Return what the probes of a plan need when each succeeds at once; a negative one is repeated a few times."""
    affected = {PathKey(route, model) for route, model in plan.affected}
    made = {
        change.key.name
        for change in plan.pending()
        if change.key.kind == ProviderAccount.KIND and change.change_class in _MADE
    }
    paths = [path for path in scope.all_routes() if path in affected]
    paths += [path for path in scope.all_accounts() if path.account in made]
    policies = [(policy_of(path), bool(path.route)) for path in paths]
    probes = [(policy.probes if route else 1, policy.max_tokens) for policy, route in policies]
    return Proving(
        requests=sum(count for count, _ in probes), tokens=sum(count * tokens for count, tokens in probes)
    )
