"""The catalogue of rules: every word that a problem may carry, and what it asks for. `docs/validation.md` shows it."""

from __future__ import annotations

RULES: dict[str, str] = {
    # Reading
    "path-not-found": "Every path that is named exists.",
    "nothing-found": "Every path that is named holds at least one manifest.",
    "unreadable": "Every file can be opened by the user who runs the command.",
    "too-large": "A file has 5,000,000 bytes at most.",
    "not-utf8": "A file is UTF-8, with or without a byte order mark.",
    "control-character": "A file has only printable characters, and no line ends that editors do not show.",
    # YAML
    "yaml-syntax": "A file is YAML.",
    "tab": "YAML is indented with spaces.",
    "duplicate-key": "A mapping has a key once.",
    "bad-key": "A key is plain text.",
    "bad-alias": "An alias has an anchor above it in the same document, and does not hold itself.",
    "bad-merge": "A merge key `<<` takes a mapping, or a list of mappings.",
    "bad-tag": "No tags, but those of the core schema (`!!str`, `!!int` ...).",
    "bad-number": "A number is finite and has 18 digits at most.",
    "too-deep": "A document is nested 64 levels deep at most, aliases expanded.",
    "too-many-nodes": "A document has 100,000 keys, items and values at most, aliases expanded; a file 1,000,000.",
    "too-many-documents": "A file has 10,000 documents at most.",
    "too-many-problems": "Only the first 100 problems of a document are listed.",
    # Structure
    "not-a-manifest": "A document is a mapping.",
    "unknown-kind": "`kind` is one of the ten kinds.",
    "api-version": "`apiVersion` is `routing.reconcile.dev/v1`.",
    "unknown-field": "A mapping has only the fields of its kind.",
    "missing-field": "A required field is there.",
    "wrong-type": "A value has its field's type.",
    "bad-value": "A value has its field's form, and lies inside its bounds.",
    "conflicting-fields": "Fields that depend on each other agree.",
    "duplicate-name": "A name stands once per kind.",
    "plain-secret": "No secret stands in a manifest, not in a label, annotation or setting either.",
    # References and drivers
    "dangling-reference": "A reference names a manifest that exists.",
    "wrong-kind": "A reference names a manifest of the right kind.",
    "reference-cycle": "References do not go round in a circle. No kind of today can make one.",
    "unknown-driver": "A ShadowHost's driver is one that there is.",
    # Policy
    "alias-as-shadow-model": "A shadow model is no public alias, unless the host's driver was verified to take one.",
    "alias-on-host": "No account lists a public alias as a model, unless the host's driver was verified to take one.",
    "alias-not-led": "A public name that one route leads to a model is led to it wherever that model is served.",
    "unserved-model": "A shadow model is in `models` of an account of the route's shadow group.",
    "model-mapping-on-host": "No driver setting maps models: public aliases live in the control plane only.",
    "duplicate-public-model": "A logical group binds a public model once.",
    "route-of-other-group": "A binding's routes belong to the binding's logical group.",
    "no-fallback": "A public model has two enabled routes that differ in shadow group or gateway key.",
    "no-model": "A logical group offers a public model.",
    "key-of-other-group": "A route's gateway key opens the route's shadow group.",
    "missing-binding": "A route that an Acceptance's order names is enabled, and bound by the order's ModelBinding.",
    "wrong-order": "A public model's routes are tried in the order that an Acceptance states, and it names them all.",
    "duplicate-item": "A list names a thing once.",
    "group-on-other-host": "An account's groups are on the account's host.",
    "platform-mismatch": "An account has the platform of its groups.",
    "ambiguous-account": "Two accounts of a host differ in base URL or credential.",
    "shared-account": "An account that serves several logical groups says `shared: true`.",
    "duplicate-endpoint": "Two hosts, or two control planes, have different admin endpoints.",
    "bad-endpoint": "An endpoint has a host name, and a port that exists.",
    "duplicate-host-object": "Two manifests of a kind do not claim one name, or adopt one object, on a host.",
    "no-key-issuer": "A GatewayKey without `valueFrom` is on a host with a `keyIssuer`.",
    "shared-key-value": "Two keys do not take their value from one source, nor are delivered to one file.",
    "unknown-limit-model": "The models in a ManagedKey's limits are public models of its logical groups.",
    "expired-key": "A ManagedKey has not expired.",
    "unknown-annotation": "An annotation under `reconcile.dev/` is one that has a meaning.",
    "bad-annotation": "An annotation under `reconcile.dev/` has a value that it can have.",
    "unused": "Groups, routes and gateway keys are used by something.",
    "no-such-target": "An Acceptance's target by labels matches a manifest.",
}

WARNINGS = frozenset(("alias-not-led", "no-fallback", "no-model", "expired-key", "unused"))
"""Rules whose problems are warnings: what they find may be meant so. `validate --strict` makes them errors."""
