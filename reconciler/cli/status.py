"""`reconcile get` and `reconcile describe`: what the last run found, from the state store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from difflib import get_close_matches

import click

from reconciler.cli.options import open_known_store, output_option, state_option
from reconciler.cli.tables import KIND_ORDER, describe_lines, status_table
from reconciler.errors import InvalidInput
from reconciler.state.render import event_item, status_document, status_item


@click.command()
@click.argument("kind", required=False)
@output_option("text", "json")
@state_option
def get(*, kind: str | None, output: str, state: str) -> None:
    """Show the status of all manifests, or of one KIND. Reads the state store only.

    \b
    Examples:
      reconcile get
      reconcile get Route
      reconcile get -o json
    """
    wanted = kind_word(kind) if kind else None
    with open_known_store(state) as store:
        statuses = [status for status in store.statuses() if wanted in (None, status.kind)]
    if output == "json":
        click.echo(json.dumps(status_document(statuses), indent=2, sort_keys=True))
        return
    if not statuses:
        click.echo("nothing is known yet; run: reconcile apply PATH", err=True)
        return
    for line in status_table(statuses):
        click.echo(line)


@click.command()
@click.argument("manifest", metavar="KIND/NAME")
@output_option("text", "json")
@state_option
def describe(*, manifest: str, output: str, state: str) -> None:
    """Show everything known of one manifest: conditions, each link of its proofs, events.

    \b
    Examples:
      reconcile describe Route/chat-east
      reconcile describe route/chat-east -o json
    """
    kind, separator, name = manifest.partition("/")
    if not separator:
        raise click.UsageError("give KIND/NAME, for example Route/chat-east")
    kind = kind_word(kind)
    with open_known_store(state) as store:
        status = store.status(kind, name)
        known = [each.name for each in store.statuses() if each.kind == kind]
        events = store.events(kind, name, limit=20)
    if status is None:
        near = get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known)[:20]) or 'none'}"
        raise InvalidInput(f"nothing is known of {kind}/{name}", hint=hint)
    if output == "json":
        body = {**status_item(status), "events": [event_item(event) for event in events]}
        click.echo(json.dumps(body, indent=2, sort_keys=True))
        return
    for line in describe_lines(status, events, datetime.now(UTC)):
        click.echo(line)


def kind_word(text: str) -> str:
    """Return the kind that a word means, in any case, singular or plural. Raises click.UsageError."""
    kinds = {kind.lower(): kind for kind in KIND_ORDER}
    found = kinds.get(text.lower()) or kinds.get(text.lower().removesuffix("s"))
    if found is None:
        near = get_close_matches(text.lower(), kinds, n=1)
        guess = f" Did you mean {kinds[near[0]]}?" if near else ""
        if "/" in text:
            guess = f" Of one manifest alone: reconcile describe {text}."
        raise click.UsageError(f"no kind {text!r}.{guess} Kinds: {', '.join(KIND_ORDER)}")
    return found
