from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest import API_VERSION, ProviderAccount, ShadowGroup
from reconciler.manifest.loader import load
from reconciler.manifest.write import to_yaml


def account(**spec: object) -> ProviderAccount:
    fields = {
        "host": "east",
        "groups": ["chat"],
        "baseUrl": "https://upstream.example.com/v1",
        "credential": {"valueFrom": {"env": "RECONCILE_SECRET_ALPHA"}},
        "models": ["gpt-4.1"],
    }
    document = {"apiVersion": API_VERSION, "kind": "ProviderAccount", "metadata": {"name": "alpha"}}
    return ProviderAccount.model_validate({**document, "spec": {**fields, **spec}})


def test_a_manifest_is_written_as_people_write_it() -> None:
    text = to_yaml([account(priority=50, settings={"headers": {"x-team": "blue"}})])

    assert text == (
        "apiVersion: routing.reconcile.dev/v1\n"
        "kind: ProviderAccount\n"
        "metadata:\n"
        "  name: alpha\n"
        "spec:\n"
        "  host: east\n"
        "  groups:\n"
        "    - chat\n"
        "  baseUrl: https://upstream.example.com/v1\n"
        "  credential:\n"
        "    valueFrom:\n"
        "      env: RECONCILE_SECRET_ALPHA\n"
        "  models:\n"
        "    - gpt-4.1\n"
        "  settings:\n"
        "    headers:\n"
        "      x-team: blue\n"
    )


def test_several_manifests_are_documents_of_one_file() -> None:
    group = ShadowGroup.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "ShadowGroup",
            "metadata": {"name": "chat"},
            "spec": {"host": "east"},
        }
    )

    assert to_yaml([group, account()]).count("\n---\n") == 1
    assert to_yaml([]) == ""


odd_words = st.one_of(
    st.sampled_from(
        [
            "yes",
            "No",
            "null",
            "~",
            "1e5",
            "0o17",
            "0x1f",
            "1:30",
            "2020-01-01",
            "-",
            "? a",
            "a: b",
            "#c",
            "=",
            "<<",
            "*a",
            "&a",
            "!t",
            "%x",
            "@x",
            "`x",
            "|",
            ">",
            "'",
            '"',
            "é",
            "\u2028",
            "\x85",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30),
)


@given(value=odd_words)
def test_any_text_is_read_back_as_it_was(value: str) -> None:
    written = account(settings={"userAgent": value, "headers": {"x-a": value}})

    read = load(["-"], stdin=io.BytesIO(to_yaml([written]).encode()))

    assert read.problems == ()
    assert [loaded.resource for loaded in read.manifests] == [written]
