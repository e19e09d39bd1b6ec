"""Stored key values over HTTP: they go in, are told apart by fingerprint, and never come out."""

from __future__ import annotations

from reconciler.gateway.control.calls import Answer, Call, Operation
from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import GatewayKeyValue, KeyVersion, ManagedKeyValue, ManagedKeyVersion
from reconciler.gateway.keys import Unsealable, generate_managed_key


async def put_gateway_key(context: Context, call: Call) -> Answer:
    """Store a sealed value of a gateway key."""
    body: GatewayKeyValue = call.body
    keys, name = context.keys, call.name

    def same(sealed: bytes) -> bool:
        try:
            return keys.open(name, body.version, sealed) == body.value
        except Unsealable:
            return False

    row, new = await context.run(
        context.storage.key_versions.put_gateway_key,
        name,
        body.version,
        sealed=keys.seal(name, body.version, body.value),
        fingerprint=keys.fingerprint(body.value),
        same=same,
        fence=call.fence,
    )
    return Answer(row, 201 if new else 200)


async def put_managed_key(context: Context, call: Call) -> Answer:
    """Store the keyed hash of a consumer's key; generate the key when none is given."""
    body: ManagedKeyValue = call.body
    value = body.value or generate_managed_key()
    row, new = await context.run(
        context.storage.key_versions.put_managed_key,
        call.name,
        body.version,
        hashed=context.keys.hash_key(value),
        other_hashes=context.keys.other_hashes(value),
        fingerprint=context.keys.fingerprint(value),
        fence=call.fence,
    )
    if body.value is not None:
        return Answer(row, 201 if new else 200)
    shown_once = {"Cache-Control": "no-store"}
    return Answer(ManagedKeyVersion(**row.as_json(), value=value), 201, shown_once)


async def delete_gateway_key(context: Context, call: Call) -> Answer:
    """Forget a value of a gateway key."""
    return await _delete(context, call, "gateway")


async def delete_managed_key(context: Context, call: Call) -> Answer:
    """Forget a value of a consumer's key."""
    return await _delete(context, call, "managed")


async def _delete(context: Context, call: Call, kind: str) -> Answer:
    delete = context.storage.key_versions.delete
    await context.run(delete, kind, call.name, call.path["version"], fence=call.fence)
    return Answer(status=204)


OPERATIONS = (
    Operation(
        "putGatewayKeyVersion",
        "POST",
        "/gateway-keys/{name}/versions",
        "Store a value of a gateway key",
        put_gateway_key,
        {200: KeyVersion, 201: KeyVersion},
        body=GatewayKeyValue,
        problems=(409,),
        description="Encrypted at rest and never shown again. Storing the same value again changes nothing; another "
        "value under a stored version is refused.",
    ),
    Operation(
        "deleteGatewayKeyVersion",
        "DELETE",
        "/gateway-keys/{name}/versions/{version}",
        "Forget a value of a gateway key",
        delete_gateway_key,
        {204: None},
        problems=(409,),
        description="Refused while the active or a staged revision uses it.",
    ),
    Operation(
        "putManagedKeyVersion",
        "POST",
        "/managed-keys/{name}/versions",
        "Store, or generate, a value of a consumer's key",
        put_managed_key,
        {200: ManagedKeyVersion, 201: ManagedKeyVersion},
        body=ManagedKeyValue,
        problems=(409,),
        description="Only a keyed hash is kept. A generated value is in this answer and nowhere else.",
    ),
    Operation(
        "deleteManagedKeyVersion",
        "DELETE",
        "/managed-keys/{name}/versions/{version}",
        "Forget a value of a consumer's key",
        delete_managed_key,
        {204: None},
        problems=(409,),
        description="Refused while the active or a staged revision uses it.",
    ),
)
