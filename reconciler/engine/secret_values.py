"""Secret values: how they are read under the operator's policy, and the keyed words that stand for them.

Values are returned to the one call that needs them and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.engine.secret_policy import Allowed, Purpose, SecretPolicy, allow
from reconciler.errors import InvalidInput
from reconciler.manifest import ValueFrom

COMMAND_TIMEOUT_S = 30
MAX_SECRET_BYTES = 65_536
GENERATED_KEY_BYTES = 32


@dataclass(frozen=True)
class SecretReader:
    """Reads values under a policy."""

    policy: SecretPolicy = field(default_factory=SecretPolicy)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read(self, source: ValueFrom, purpose: Purpose) -> str:
        """Return the value. Raises Refused when the policy forbids the source, InvalidInput when there is no value.

        The value itself is in no message.
        """
        value = self._reader(source)(purpose)
        if not value:
            raise InvalidInput(f"{purpose.what}: {_describe(source)} is empty")
        return _one_line(value, f"{purpose.what}: {_describe(source)}")

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
        allowed = [Allowed(pattern=pattern) for pattern in self.policy.deliver_to]
        source, field = f"delivery to {file}", "secrets.deliver_to"
        allow(str(file.resolve()), allowed, Purpose(what), source=source, field=field)

    def _reader(self, source: ValueFrom) -> Callable[[Purpose], str]:
        if source.env is not None:
            return lambda purpose: self._env(source.env or "", purpose)
        if source.file is not None:
            return lambda purpose: self._file(source.file or "", purpose)
        return lambda purpose: self._command(source.command or [], purpose)

    def _env(self, name: str, purpose: Purpose) -> str:
        allow(name, self.policy.env, purpose, source=f"environment variable {name}", field="secrets.env")
        if name not in self.environ:
            raise InvalidInput(
                f"{purpose.what}: environment variable {name} is not set",
                hint="set it; for the embedded stack: set -a; . .reconcile/stack/env; set +a",
            )
        return self.environ[name]

    def _file(self, name: str, purpose: Purpose) -> str:
        path = Path(name).resolve()
        allow(str(path), self.policy.files, purpose, source=f"file {name}", field="secrets.files")
        try:
            with path.open("rb") as file:
                return file.read(MAX_SECRET_BYTES).decode("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{purpose.what}: file {name} cannot be read: {type(error).__name__}"
            ) from error

    def _command(self, command: list[str], purpose: Purpose) -> str:
        allow(
            command[0],
            self.policy.commands,
            purpose,
            source=f"command {command[0]}",
            field="secrets.commands",
        )
        try:
            done = subprocess.run(  # noqa: S603 - the operator's policy allows exactly this program
                command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise InvalidInput(
                f"{purpose.what}: command {command[0]} failed: {type(error).__name__}"
            ) from None
        return done.stdout[:MAX_SECRET_BYTES].decode("utf-8", "replace").removesuffix("\n")


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
