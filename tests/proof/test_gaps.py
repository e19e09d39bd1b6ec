"""Bindings that are missing: an enabled route that no model leads to, and one that serves only some of its group's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.manifest import ManifestSet, ModelBinding, Route
from reconciler.proof.gaps import gaps
from reconciler.proof.scope import Scope
from tests.proof.cast import manifests


def without(route: str, of: Callable[[ModelBinding], bool]) -> ManifestSet:
    """Return the example manifests, a route taken out of some bindings."""
    items = dict(manifests().items)
    for key, loaded in items.items():
        binding = loaded.resource
        if isinstance(binding, ModelBinding) and of(binding):
            routes = [each for each in binding.spec.routes if each.route != route]
            spec = binding.spec.model_copy(update={"routes": routes})
            items[key] = replace(loaded, resource=binding.model_copy(update={"spec": spec}))
    return ManifestSet(items)


def test_the_examples_lack_nothing() -> None:
    assert gaps(Scope(manifests())) == []


def test_an_enabled_route_that_no_binding_names_is_certainly_missing_one() -> None:
    (gap,) = gaps(Scope(without("chat-overflow", lambda binding: True)))

    assert (gap.kind, gap.name, gap.certain) == ("Route", "chat-overflow", True)
    assert gap.message == "is enabled, and no ModelBinding leads to it"
    assert str(gap.at).split("/")[-1].startswith("routes.yaml:")


def test_a_route_that_serves_one_model_of_its_group_and_not_the_other_may_be_missing_one() -> None:
    (gap,) = gaps(Scope(without("chat-overflow", lambda binding: binding.name == "chat-smart")))

    assert (gap.kind, gap.name, gap.certain) == ("ModelBinding", "chat-smart", False)
    assert gap.message == "does not bind Route/chat-overflow, which serves fast of the same group"


def test_a_public_name_that_a_host_is_asked_for_as_it_is_may_be_an_alias() -> None:
    items = dict(manifests().items)
    loaded = items[("ModelBinding", "chat-fast")]
    binding = loaded.resource
    assert isinstance(binding, ModelBinding)
    routes = [each.model_copy(update={"shadow_model": "fast"}) for each in binding.spec.routes]
    spec = binding.spec.model_copy(update={"routes": routes})
    items[("ModelBinding", "chat-fast")] = replace(loaded, resource=binding.model_copy(update={"spec": spec}))

    east, west = gaps(Scope(ManifestSet(items)))

    assert (east.kind, east.name, east.what, east.certain) == ("ShadowHost", "east", "an alias", False)
    assert (west.kind, west.name) == ("ShadowHost", "west")
    assert "is asked for public names as they are: fast; right for an upstream's own name" in str(east)


def test_a_route_that_is_not_enabled_lacks_nothing() -> None:
    items = dict(without("chat-overflow", lambda binding: True).items)
    loaded = items[("Route", "chat-overflow")]
    route = loaded.resource
    assert isinstance(route, Route)
    spec = route.spec.model_copy(update={"enabled": False})
    items[("Route", "chat-overflow")] = replace(loaded, resource=route.model_copy(update={"spec": spec}))

    assert gaps(Scope(ManifestSet(items))) == []
