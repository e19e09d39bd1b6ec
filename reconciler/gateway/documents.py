"""Configuration documents on their way to and from storage, handled in slices so that requests never wait for them.

A document may hold tens of thousands of objects. Everything here runs in a worker thread and pauses between slices:
the interpreter lock is free again within a few milliseconds.
"""

from __future__ import annotations

import hashlib
import heapq
import time
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import msgspec

from reconciler.gateway.refusals import Invalid
from reconciler.routing.config import Configuration, InvalidConfiguration, parse_steps

SECTIONS = ("logical_groups", "managed_keys", "model_bindings", "routes", "shadow_hosts")
"""The sections of a document, in the order of its canonical JSON."""

_SLICE = 64
"""Objects encoded or sorted at once."""
_WORK_S = 0.0003
"""After this long the lock is given up of our own accord: an event loop that has to ask for it waits longer."""
_LOOKED_EVERY = 32
"""Items between two looks at the clock."""
_PAUSE_S = 0.0002
"""Long enough that the event loop's thread really gets the lock, short enough not to be felt."""
_COMPRESSION = 1

KeyVersion = tuple[str, str]
"""(name, version) of a stored key value."""
T = TypeVar("T")

_sections_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_USES = ("gateway", "managed")


@dataclass(frozen=True)
class KeyUses:
    """The stored key values that a configuration names."""

    gateway: frozenset[KeyVersion]
    managed: frozenset[KeyVersion]

    def packed(self) -> bytes:
        """Return it as storage keeps it."""
        lists = {"gateway": _sorted(self.gateway), "managed": _sorted(self.managed)}
        return zlib.compress(_joined(lists), _COMPRESSION)

    @staticmethod
    def unpacked(packed: bytes) -> KeyUses:
        """Read what `packed` made."""
        body = decode(zlib.decompress(packed))
        gateway, managed = (frozenset([(name, version) for name, version in body[word]]) for word in _USES)
        return KeyUses(gateway, managed)


def _sorted(uses: frozenset[KeyVersion]) -> list[KeyVersion]:
    """Return uses in order, without one long sort."""
    unsorted = list(uses)
    slices = [sorted(unsorted[start : start + _SLICE]) for start in range(0, len(unsorted), _SLICE)]
    return list(paused(heapq.merge(*slices)))


@dataclass(frozen=True)
class Prepared:
    """A document that can be served, ready to be stored."""

    configuration: Configuration
    text: bytes
    """Canonical JSON."""
    digest: str
    """`routing.config.digest` of it."""

    key_uses: KeyUses


def prepare(document: Any) -> Prepared:
    """Parse a document. Blocks, with pauses. Raises Invalid (`invalid-configuration`) with every problem."""
    configuration = configure(document)
    text = canonical(configuration)
    return Prepared(configuration, text, hashlib.sha256(text).hexdigest(), key_uses(configuration))


def configure(document: Any) -> Configuration:
    """Return the indexed configuration of a decoded document. Blocks, with pauses. Raises Invalid."""
    try:
        return _paused(parse_steps(document))
    except InvalidConfiguration as error:
        raise Invalid(
            "invalid-configuration", "the configuration can never be served", error.problems
        ) from error


def canonical(configuration: Configuration) -> bytes:
    """Return the canonical JSON of a configuration: the bytes that its digest is taken of. Blocks, with pauses."""
    return _joined({name: getattr(configuration, name) for name in SECTIONS})


def _joined(sections: Mapping[str, Sequence[Any]]) -> bytes:
    """Return an object of lists as JSON, encoded slice by slice and copied once."""
    pieces: list[bytes] = []
    for name, objects in sections.items():
        pieces.append(b'%s"%s":[' % (b"," if pieces else b"{", name.encode()))
        for start in range(0, len(objects), _SLICE):
            encoded = msgspec.json.encode(objects[start : start + _SLICE], order="sorted")
            pieces += [b"," if start else b"", encoded[1:-1]]
            time.sleep(_PAUSE_S)
        pieces.append(b"]")
    return b"".join([*pieces, b"}"])


def decode(text: bytes | memoryview) -> Any:
    """Decode a document's JSON. Blocks, with pauses: finding its objects takes about 1 ms per MB.

    The objects themselves are decoded while they are iterated over, so that there is never a tree of all of them.
    Raises Invalid (`malformed-json`).
    """
    try:
        sections = {name: _objects(raw) for name, raw in _sections_decoder.decode(text).items()}
    except msgspec.ValidationError:
        return _decode_at_once(text)  # not the shape of a document; `configure` says what is wrong with it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed() from error
    return sections


def _objects(raw: msgspec.Raw) -> Objects:
    time.sleep(_PAUSE_S)
    return Objects(_list_decoder.decode(raw))


def _decode_at_once(text: bytes | memoryview) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed() from error


def _malformed() -> Invalid:
    return Invalid("malformed-json", "the configuration is not JSON")


class Objects(Sequence[Any]):
    """The objects of a section, each decoded when it is asked for."""

    def __init__(self, raw: Sequence[msgspec.Raw]) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Objects: ...

    def __getitem__(self, index: int | slice) -> Any:
        """Raises Invalid (`malformed-json`) for text that turns out to be none: half of a character pair."""
        if isinstance(index, slice):
            return Objects(self._raw[index])
        try:
            return msgspec.json.decode(self._raw[index])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed() from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def pack(text: bytes) -> bytes:
    """Compress canonical JSON for storage."""
    return zlib.compress(text, _COMPRESSION)


def unpack(packed: bytes) -> bytes:
    """Return the canonical JSON again."""
    return zlib.decompress(packed)


def key_uses(configuration: Configuration) -> KeyUses:
    """Return the key values that routes and managed keys name."""
    return KeyUses(
        frozenset((route.gateway_key, route.gateway_key_version) for route in paused(configuration.routes)),
        frozenset(
            (key.name, version) for key in paused(configuration.managed_keys) for version in key.versions
        ),
    )


def parts_of(configuration: Configuration) -> list[Any]:
    """Return every small object of a configuration: who has them all can end it in slices."""
    index = configuration.index
    return [
        *configuration.routes,
        *configuration.model_bindings,
        *configuration.managed_keys,
        *index.offers.values(),
        *index.tiers.values(),
        *index.offers,
    ]


def paused(items: Iterable[T]) -> Iterator[T]:
    """Yield items, and give the interpreter's lock up whenever their reader has worked for long enough. Blocks."""
    since = time.perf_counter()
    for count, item in enumerate(items):
        yield item
        if not count % _LOOKED_EVERY and time.perf_counter() - since > _WORK_S:
            time.sleep(_PAUSE_S)
            since = time.perf_counter()


def _paused(steps: Generator[None, None, T]) -> T:
    since = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if time.perf_counter() - since > _WORK_S:
            time.sleep(_PAUSE_S)
            since = time.perf_counter()
