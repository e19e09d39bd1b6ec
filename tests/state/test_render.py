from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from reconciler.state.model import Condition, Event, Status
from reconciler.state.render import event_item, status_json

AT = datetime(2030, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))


def test_the_status_document_has_the_promised_names() -> None:
    proof = {"route": "r", "publicModel": "m", "grade": "exact", "links": []}
    status = Status(
        api_version="routing.reconcile.dev/v1",
        kind="Route",
        name="r",
        observed_generation=3,
        revision=9,
        conditions=(Condition("Ready", "True", "AllProved", "all links hold", 3, AT),),
        proofs=(proof,),
    )

    assert json.loads(status_json([status])) == {
        "items": [
            {
                "apiVersion": "routing.reconcile.dev/v1",
                "kind": "Route",
                "metadata": {"name": "r"},
                "status": {
                    "observedGeneration": 3,
                    "revision": 9,
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "reason": "AllProved",
                            "message": "all links hold",
                            "observedGeneration": 3,
                            "lastTransitionTime": "2030-01-02T03:04:05Z",
                        }
                    ],
                    "proofs": [proof],
                },
            }
        ]
    }


def test_items_are_sorted_so_that_the_same_statuses_give_the_same_bytes() -> None:
    one, two = Status("v", "Route", "a"), Status("v", "GatewayKey", "b")

    assert status_json([one, two]) == status_json([two, one])


def test_an_event_as_json() -> None:
    event = Event("Route", "r", "Warning", "NotProved", "no row", 2, AT, AT.astimezone(UTC))

    assert event_item(event) == {
        "kind": "Route",
        "name": "r",
        "type": "Warning",
        "reason": "NotProved",
        "message": "no row",
        "count": 2,
        "firstAt": "2030-01-02T03:04:05Z",
        "lastAt": "2030-01-02T03:04:05Z",
    }
