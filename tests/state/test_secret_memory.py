from __future__ import annotations

from reconciler.state import Store
from reconciler.state.model import Lease, SecretMemory


def test_a_secret_is_remembered_by_fingerprint(store: Store) -> None:
    reference = ("ProviderAccount", "alpha", "spec.credential")
    assert store.secret(*reference) is None

    store.remember_secret(*reference, SecretMemory("0123456789ab"))
    newer = SecretMemory("ba9876543210")
    store.remember_secret(*reference, newer)

    assert store.secret(*reference) == newer
    assert store.secrets() == {reference: newer}
    store.forget_secret(*reference)
    assert store.secret(*reference) is None


def test_a_secret_is_bound_to_the_origins_it_was_last_allowed_for(store: Store, lease: Lease) -> None:
    assert store.secret_origins() == {}

    store.bind_secrets({"source:a": ["https://one.example:443", "https://two.example:443"]}, lease)
    store.bind_secrets(
        {"source:a": ["https://two.example:443"], "value:b": ["https://two.example:443"]}, lease
    )
    store.bind_secrets({"value:b": ["https://two.example:443"]}, lease)

    two = frozenset({"https://two.example:443"})
    assert store.secret_origins() == {"source:a": two, "value:b": two}
