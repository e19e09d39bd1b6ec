"""The shapes of answers: fact sheet sections 1.1, 1.2, 1.3, 1.4 and 1.6."""

from __future__ import annotations

import uuid

import pytest

from tests.embedded.world import World


async def test_a_success_is_enveloped_and_a_create_answers_200(world: World) -> None:
    response = await world.admin("POST", "/groups", {"name": "g", "rate_multiplier": 1})

    assert response.status_code == 200
    assert list(response.json()) == ["code", "message", "data"]
    assert response.json()["code"] == 0


async def test_an_application_error_has_the_status_as_a_number_and_a_reason(world: World) -> None:
    response = await world.admin("GET", "/groups/999")

    assert response.status_code == 404
    assert response.json() == {"code": 404, "message": "group not found", "reason": "GROUP_NOT_FOUND"}


async def test_a_middleware_error_has_a_word_as_code(world: World) -> None:
    response = await world.client.get("/api/v1/admin/groups")

    assert response.status_code == 401
    assert response.json() == {"code": "UNAUTHORIZED", "message": "Authorization required"}


async def test_a_client_error_may_arrive_as_500_without_a_word(world: World) -> None:
    response = await world.admin("POST", "/groups", {"name": "no multiplier", "platform": "openai"})

    assert response.status_code == 500
    assert response.json() == {"code": 500, "message": "internal error"}


async def test_a_field_of_the_wrong_type_is_refused_in_gos_words(world: World) -> None:
    response = await world.admin("POST", "/groups", {"name": "g", "rate_multiplier": "1"})

    assert response.status_code == 400
    assert response.json()["message"] == (
        "Invalid request: json: cannot unmarshal string into Go struct field CreateGroupRequest.rate_multiplier "
        "of type float64"
    )


async def test_unknown_fields_are_ignored_and_names_match_in_any_case(world: World) -> None:
    made = await world.ok("POST", "/groups", {"Name": "g", "RATE_MULTIPLIER": 1, "descriptoin": "typo"})

    assert (made["name"], made["description"]) == ("g", "")


async def test_an_empty_body_is_eof(world: World) -> None:
    response = await world.admin("POST", "/groups")

    assert response.json() == {"code": 400, "message": "Invalid request: EOF"}


@pytest.mark.parametrize(
    ("query", "size", "page"),
    [
        ({"page_size": "1000"}, 1000, 1),
        ({"page_size": "1001"}, 20, 1),
        ({"page_size": "0"}, 20, 1),
        ({"page_size": "-3"}, 20, 1),
        ({"page_size": "x"}, 20, 1),
        ({"limit": "7"}, 7, 1),
        ({"limit": "7", "page_size": "5"}, 5, 1),
        ({"page": "0"}, 20, 1),
        ({"page": "99"}, 20, 99),
    ],
)
async def test_a_page_out_of_range_silently_becomes_the_default(
    world: World, query: dict[str, str], size: int, page: int
) -> None:
    data = await world.ok("GET", "/groups", params=query)

    assert (data["page_size"], data["page"], data["total"], data["pages"]) == (size, page, 1, 1)


async def test_pages_partition_a_list(world: World) -> None:
    made = [await world.group(f"g{number}") for number in range(5)]

    seen: list[int] = []
    pages = 0
    for page in (1, 2, 3):
        data = await world.ok("GET", "/groups", params={"platform": "openai", "page_size": 2, "page": page})
        seen += [item["id"] for item in data["items"]]
        pages = data["pages"]
    assert pages == 3
    assert seen == made


async def test_an_unknown_sort_falls_back_without_an_error(world: World) -> None:
    data = await world.ok("GET", "/groups", params={"sort_by": "nope", "sort_order": "sideways"})

    assert data["total"] == 1


async def test_health_and_version_need_no_credentials(world: World) -> None:
    assert (await world.client.get("/health")).json() == {"status": "ok"}
    settings = (await world.client.get("/api/v1/settings/public")).json()["data"]
    assert settings["version"] == "0.1.179"
    assert (await world.client.get("/setup/status")).json()["data"]["needs_setup"] is False


@pytest.mark.parametrize("path", ["/nope", "/api/v1/admin/nope", "/v1/completions"])
async def test_an_unknown_path_is_plain_text(world: World, path: str) -> None:
    response = await world.client.post(path)

    assert (response.status_code, response.text) == (404, "404 page not found")
    assert "x-client-request-id" not in response.headers


async def test_a_wrong_method_is_an_unknown_path(world: World) -> None:
    assert (await world.admin("PATCH", "/groups")).text == "404 page not found"


async def test_a_request_id_of_at_most_64_bytes_is_echoed(world: World) -> None:
    short = await world.client.get("/health", headers={"X-Request-ID": "mine"})
    long = await world.client.get("/health", headers={"X-Request-ID": "m" * 65})

    assert short.headers["x-request-id"] == "mine"
    assert uuid.UUID(long.headers["x-request-id"]).version == 4


async def test_the_client_request_id_is_always_the_hosts_own(world: World) -> None:
    """Set before authentication, so a refused request carries it too; the admin API has none."""
    mine = str(uuid.uuid4())

    refused = await world.client.post("/v1/chat/completions", headers={"X-Client-Request-ID": mine})
    admin = await world.admin("GET", "/groups")

    assert refused.status_code == 401
    assert uuid.UUID(refused.headers["x-client-request-id"]) != uuid.UUID(mine)
    assert "x-client-request-id" not in admin.headers


async def test_the_account_list_has_an_etag(world: World) -> None:
    first = await world.admin("GET", "/accounts")
    again = await world.admin("GET", "/accounts", headers={"If-None-Match": first.headers["etag"]})
    await world.account()
    changed = await world.admin("GET", "/accounts", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
