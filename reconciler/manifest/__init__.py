"""Manifests: files to typed, checked resources. Imports nothing else of ours."""

from reconciler.manifest.acceptance import Acceptance
from reconciler.manifest.control_plane import ControlPlane
from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.logical_group import LogicalGroup
from reconciler.manifest.managed_key import ManagedKey
from reconciler.manifest.manifest_set import Loaded, Location, ManifestSet, Problem
from reconciler.manifest.meta import API_VERSION, KINDS, Resource, ValueFrom, seconds
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.route import Route
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.shadow_host import ShadowHost

__all__ = [
    "API_VERSION",
    "KINDS",
    "Acceptance",
    "ControlPlane",
    "GatewayKey",
    "Loaded",
    "Location",
    "LogicalGroup",
    "ManagedKey",
    "ManifestSet",
    "ModelBinding",
    "Problem",
    "ProviderAccount",
    "Resource",
    "Route",
    "ShadowGroup",
    "ShadowHost",
    "ValueFrom",
    "seconds",
]
