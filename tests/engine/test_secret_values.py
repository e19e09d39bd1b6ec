"""Where secrets may come from: the operator decides, and no message ever holds a value."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from reconciler.engine.secret_policy import Purpose, SecretPolicy
from reconciler.engine.secret_values import Keyring, SecretReader
from reconciler.errors import InvalidInput, ReconcileError, Refused
from reconciler.manifest import ValueFrom

VALUE = "canary-upstream-key-1"


def policy(**secrets: object) -> SecretPolicy:
    return SecretPolicy.model_validate(secrets)


def test_an_allowed_variable_is_read() -> None:
    reader = SecretReader(environ={"RECONCILE_SECRET_A": VALUE})

    assert reader.read(ValueFrom(env="RECONCILE_SECRET_A"), Purpose("x")) == VALUE


@pytest.mark.parametrize(
    "source",
    [ValueFrom(env="HOME"), ValueFrom(file="/etc/hostname"), ValueFrom(command=["/bin/echo", "x"])],
    ids=["env", "file", "command"],
)
def test_a_source_outside_the_policy_is_refused(source: ValueFrom) -> None:
    with pytest.raises(Refused) as caught:
        SecretReader(environ={"HOME": VALUE}).read(source, Purpose("ProviderAccount/a spec.credential"))

    assert "ProviderAccount/a spec.credential" in caught.value.message
    assert VALUE not in str(caught.value)


def test_a_link_out_of_the_allowed_folder_is_refused(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "outside").write_text(VALUE)
    (allowed / "link").symlink_to(tmp_path / "outside")
    reader = SecretReader(policy(files=[f"{allowed}/*"]))

    with pytest.raises(Refused):
        reader.read(ValueFrom(file=str(allowed / "link")), Purpose("x"))


@pytest.mark.parametrize("value", ["", f"{VALUE}\nsecond", f"{VALUE}\0"], ids=["empty", "lines", "zero"])
def test_a_value_that_is_no_single_line_is_refused_without_telling_it(value: str) -> None:
    reader = SecretReader(environ={"RECONCILE_SECRET_A": value})

    with pytest.raises(InvalidInput) as caught:
        reader.read(ValueFrom(env="RECONCILE_SECRET_A"), Purpose("x"))

    assert VALUE not in f"{caught.value!s}{caught.value!r}{caught.value.hint}"


def test_a_command_that_fails_tells_neither_output_nor_cause(tmp_path: Path) -> None:
    program = tmp_path / "fails"
    program.write_text(f"#!/bin/sh\necho {VALUE}\necho {VALUE} >&2\nexit 1\n")
    program.chmod(0o700)
    reader = SecretReader(policy(commands=[str(program)]))

    with pytest.raises(ReconcileError) as caught:
        reader.read(ValueFrom(command=[str(program)]), Purpose("x"))

    assert VALUE not in f"{caught.value!s}{caught.value!r}"
    assert caught.value.__cause__ is None


def test_a_generated_key_is_delivered_privately_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    reader = SecretReader(SecretPolicy(deliver_to=(str(tmp_path / "*"),)))
    assert reader.delivered(file, what="x") is None

    made = reader.deliver(file, what="x")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert reader.delivered(file, what="x") == made
    assert reader.deliver(file, what="x") != made
    assert list(tmp_path.iterdir()) == [file]


def test_an_empty_file_is_no_delivery_and_one_of_two_lines_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    reader = SecretReader(SecretPolicy(deliver_to=(str(tmp_path / "*"),)))

    file.write_text("")
    assert reader.delivered(file, what="x") is None
    file.write_text(f"{VALUE}\nsecond\n")
    with pytest.raises(InvalidInput, match="more than one line") as caught:
        reader.delivered(file, what="x")
    assert VALUE not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    reader = SecretReader(SecretPolicy(deliver_to=(str(tmp_path / "*"),)))

    with pytest.raises(InvalidInput, match="none/key cannot be written: No such file or directory"):
        reader.deliver(tmp_path / "none" / "key", what="x")


def test_delivery_outside_the_policy_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    for call in (SecretReader().deliver, SecretReader().delivered):
        with pytest.raises(Refused):
            call(tmp_path / "key", what="x")

    assert list(tmp_path.iterdir()) == []


def test_a_keyring_shows_no_key_and_derives_the_same_value_again() -> None:
    ring = Keyring("inst", b"canary-installation-key-1")

    assert "canary" not in repr(ring)
    assert ring.gateway_key("east", "a", "1") == ring.gateway_key("east", "a", "1")
    assert (
        len(
            {
                ring.gateway_key(*words)
                for words in (("east", "a", "1"), ("east", "a", "2"), ("west", "a", "1"))
            }
        )
        == 3
    )
