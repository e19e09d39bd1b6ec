"""Secret values: where they may come from, how they are read, and the keyed words that stand for them.

Which env names, files and commands may be used is the operator's policy, outside the manifest repository: whoever can
merge a manifest must not be able to read any secret of the machine that applies it. Values are returned to the one
call that needs them and kept nowhere.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconciler.errors import InvalidInput, Refused
from reconciler.manifest import ValueFrom

COMMAND_TIMEOUT_S = 30
MAX_SECRET_BYTES = 65_536
GENERATED_KEY_BYTES = 32


class SecretPolicy(BaseModel):
    """What `valueFrom` may name. Patterns are shell globs; files are compared by their real path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: tuple[str, ...] = Field(("RECONCILE_SECRET_*",), description="Names of environment variables.")
    files: tuple[str, ...] = Field(("/run/secrets/*",), description="Paths of files.")
    commands: tuple[str, ...] = Field((), description="Programs, as absolute paths; none by default.")
    deliver_to: tuple[str, ...] = Field(
        (), description="Files that a generated ManagedKey may be written to."
    )


class OperatorPolicy(BaseModel):
    """The operator's policy file (`--policy FILE`, `$RECONCILE_POLICY`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secrets: SecretPolicy = SecretPolicy()


def load_policy(path: str | None) -> OperatorPolicy:
    """Return the policy in a YAML file, or the default one. Raises InvalidInput."""
    if path is None:
        return OperatorPolicy()
    try:
        return OperatorPolicy.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise InvalidInput(f"{path}: not a usable policy file: {error}") from error


@dataclass(frozen=True)
class SecretReader:
    """Reads values under a policy."""

    policy: SecretPolicy = field(default_factory=SecretPolicy)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read(self, source: ValueFrom, *, what: str) -> str:
        """Return the value. Raises Refused when the policy forbids the source, InvalidInput when there is no value.

        `what` names the manifest field for the error message; the value itself is in no message.
        """
        value = self._reader(source)(what)
        if not value:
            raise InvalidInput(f"{what}: {_describe(source)} is empty")
        return _one_line(value, f"{what}: {_describe(source)}")

    def delivered(self, file: Path, *, what: str) -> str | None:
        """Return the key that was delivered to `file`; None when the file is not there, or empty.

        Raises Refused when the policy forbids the file, InvalidInput when it cannot be read.
        """
        self._allow_delivery(file, what)
        try:
            value = file.read_text(encoding="utf-8").removesuffix("\n")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{what}: {file} cannot be read: {type(error).__name__}") from error
        return _one_line(value, f"{what}: {file}") or None

    def deliver(self, file: Path, *, what: str) -> str:
        """Make a key, write it to `file`, mode 0600, in the place of what is there, and return it.

        The file is written before the gateway learns the key, so a crash in between loses nothing: the next run reads
        it. Raises Refused when the policy forbids the file, InvalidInput when it cannot be written.
        """
        self._allow_delivery(file, what)
        value, target = "rk-" + secrets.token_urlsafe(GENERATED_KEY_BYTES), file.resolve()
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as out:
                    out.write(value + "\n")
                    out.flush()
                    os.fsync(out.fileno())
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InvalidInput(f"{what}: {file} cannot be written: {error.strerror}") from error
        return value

    def _allow_delivery(self, file: Path, what: str) -> None:
        allow(str(file.resolve()), self.policy.deliver_to, what, f"delivery to {file}", "secrets.deliver_to")

    def _reader(self, source: ValueFrom) -> Callable[[str], str]:
        if source.env is not None:
            return lambda what: self._env(source.env or "", what)
        if source.file is not None:
            return lambda what: self._file(source.file or "", what)
        return lambda what: self._command(source.command or [], what)

    def _env(self, name: str, what: str) -> str:
        allow(name, self.policy.env, what, f"environment variable {name}", "secrets.env")
        if name not in self.environ:
            raise InvalidInput(
                f"{what}: environment variable {name} is not set",
                hint="set it; for the embedded stack: set -a; . .reconcile/stack/env; set +a",
            )
        return self.environ[name]

    def _file(self, name: str, what: str) -> str:
        path = Path(name).resolve()
        allow(str(path), self.policy.files, what, f"file {name}", "secrets.files")
        try:
            with path.open("rb") as file:
                return file.read(MAX_SECRET_BYTES).decode("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{what}: file {name} cannot be read: {type(error).__name__}") from error

    def _command(self, command: list[str], what: str) -> str:
        allow(command[0], self.policy.commands, what, f"command {command[0]}", "secrets.commands")
        try:
            done = subprocess.run(  # noqa: S603 - the operator's policy allows exactly this program
                command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise InvalidInput(f"{what}: command {command[0]} failed: {type(error).__name__}") from None
        return done.stdout[:MAX_SECRET_BYTES].decode("utf-8", "replace").removesuffix("\n")


def allow(name: str, patterns: tuple[str, ...], what: str, source: str, field: str) -> None:
    """Raise Refused unless one of the operator's patterns allows `name`."""
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
        allowed = ", ".join(patterns) or "none"
        raise Refused(
            f"{what}: the operator's policy does not allow {source}",
            hint=f"allowed by {field}: {allowed}; see --policy",
        )


def _one_line(value: str, where: str) -> str:
    if "\n" in value or "\0" in value:
        raise InvalidInput(f"{where} holds more than one line")
    return value


def _describe(source: ValueFrom) -> str:
    return f"{source.key()[0]} {source.key()[1]}"


@dataclass(frozen=True)
class KeyWords:
    """Fingerprints of the keys that we make, from their names: no secret, and no value can be learnt from it.

    A key's value follows from the installation's key, its host, name and version. So does its fingerprint here, from a
    word that stands for the installation's key: whoever plans without any secret gets the very same plan.
    """

    installation: str
    seed: str
    """Changes with the installation's key, and does not reveal it."""

    def fingerprint(self, host: str, name: str, version: str) -> str:
        """Return 12 hex digits that change with the value of the key, whoever asks."""
        said = "\0".join((self.seed, self.installation, host, name, version))
        return hashlib.sha256(said.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Keyring:
    """Keyed words derived from the installation's key: fingerprints of secrets, and the values of keys we make."""

    installation: str
    key: bytes

    def fingerprint(self, value: str) -> str:
        """Return 12 hex digits that change with the value and tell nothing of it without the key."""
        return self._mac("secret", value)[:12]

    def gateway_key(self, host: str, name: str, version: str) -> str:
        """Return the value of a host key that we make; the same again for the same words, so that a retry finds it."""
        return "rk-" + self._mac("gateway-key", self.installation, host, name, version)[:48]

    @property
    def words(self) -> KeyWords:
        """Return what planning may know of the keys that we make."""
        return KeyWords(self.installation, self._mac("key-words")[:32])

    def _mac(self, *parts: str) -> str:
        return hmac.new(self.key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"Keyring({self.installation!r})"
