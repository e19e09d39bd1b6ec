"""Files to typed resources: all that is wrong in all of them at once, each with its place. Offline; reads no secret."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

from reconciler.manifest import files, structure
from reconciler.manifest.manifest_set import Loaded, Location, ManifestSet, Problem
from reconciler.manifest.meta import API_VERSION, KINDS
from reconciler.manifest.nodes import Node, children, content, locate
from reconciler.manifest.plain_secrets import plain_secrets
from reconciler.manifest.quote import did_you_mean, quote
from reconciler.manifest.source import parse

UNKNOWN = ""
"""In `LoadResult.broken`: the kind or the name could not be read."""

_KIND = re.compile(r"\bkind[\"']?\s*:\s*[\"']?([A-Za-z]+)")
_NAME = re.compile(r"\bname[\"']?\s*:\s*[\"']?([A-Za-z0-9-]+)")


@dataclass(frozen=True)
class LoadResult:
    """What loading found. With `problems`, `manifests` lacks the documents that have one."""

    manifests: ManifestSet
    problems: tuple[Problem, ...]
    broken: frozenset[tuple[str, str]] = frozenset()
    """(kind, name) of documents left out, so that what refers to them is not blamed as well."""
    readable: tuple[Loaded, ...] = ()
    """Those of them that only have fields too many: what they refer to is known, and checked as well."""

    def may_be(self, kind: str, name: str) -> bool:
        """True when a document that could not be read may have been this one."""
        return any(
            broken in self.broken
            for broken in ((kind, name), (kind, UNKNOWN), (UNKNOWN, name), (UNKNOWN,) * 2)
        )

    def may_lack(self, kind: str) -> bool:
        """True when a document that could not be read may have been of this kind."""
        return any(word in (kind, UNKNOWN) for word, _ in self.broken)


def load(paths: Sequence[str], *, stdin: TextIO | BinaryIO | None = None) -> LoadResult:
    """Read, parse and type all manifests that `paths` name; see `files.read` for what a path may be.

    Never raises for bad input: every problem of every file is in the result, sorted by place. A `kind: List` stands
    for its items, as kubectl and kustomize write it. Each path must hold at least one document.
    """
    loading = _Loading()
    documents = dict.fromkeys(paths, 0)
    for asked, found in files.read(paths, stdin=stdin):
        if isinstance(found, files.Text):
            documents[asked] += loading.text(found.file, found.text)
            continue
        documents[asked] += 1
        if found is not None:
            loading.problems.append(found)
            loading.broken.add((UNKNOWN, UNKNOWN))
    return loading.result(documents)


def digest(items: Iterable[Loaded]) -> str:
    """Return sha256 of the canonical JSON of all resources, which are given sorted."""
    bodies = [loaded.resource.model_dump(mode="json", by_alias=True) for loaded in items]
    text = json.dumps(bodies, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class _Loading:
    items: dict[tuple[str, str], Loaded] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)
    readable: list[Loaded] = field(default_factory=list)
    first: dict[tuple[str, str], Location] = field(default_factory=dict)
    """Where the name of each document stands that says its kind and name, left out or not."""

    def text(self, file: str, text: str) -> int:
        """Take in one file; return how many documents it held, unreadable ones included."""
        parsed = parse(file, text)
        self.problems += parsed.problems
        for lost in parsed.lost:
            self.broken |= _guess(lost)
        for document in parsed.documents:
            for node in _items(document.root):
                self.document(file, node, document.flaws)
        return len(parsed.documents) + len(parsed.lost)

    def document(self, file: str, node: Node, flaws: frozenset[Location]) -> None:
        """Take in one manifest; `flaws` are places about which reading YAML had something to say already."""
        value = content(node)
        places = locate(file, node)
        kind, problem = _kind_of(value, places.values.get(("kind",), places.values[()]))
        name = _name_of(value)
        if problem is not None:
            self._leave_out(kind or UNKNOWN, name, [problem])
            return
        assert kind is not None
        subject = structure.Subject(kind, f"{kind} {quote(name)}" if name else kind, places)
        if name != UNKNOWN and (again := self._again(kind, name, subject)) is not None:
            self.problems.append(again)
        built = structure.build(kind, value, subject)
        if built.resource is None:
            if built.readable is not None:
                known = Loaded(built.readable, places.values, places.keys, built.stand_ins)
                self.readable.append(known)
            shown = [*built.problems, *plain_secrets(value, subject.called, subject.at, subject.at_key)]
            self._leave_out(kind, name, [problem for problem in shown if problem.location not in flaws])
            return
        if flaws:
            self._leave_out(kind, name, [])
            return
        self.items.setdefault((kind, name), Loaded(built.resource, places.values, places.keys))

    def result(self, documents: Mapping[str, int]) -> LoadResult:
        """Close the books; `documents` counts them by path."""
        for path, count in documents.items():
            if count == 0:
                message = f"no manifest found in {quote(path) if path != files.STDIN else 'standard input'}"
                fix = "give a file with manifests, or a folder that holds *.yaml or *.yml files"
                self.problems.append(Problem(Location(path, 1, 1), "nothing-found", message, fix))
        items = dict(sorted(self.items.items()))
        manifests = ManifestSet(items, digest(items.values()))
        readable = tuple(self.readable)
        return LoadResult(manifests, tuple(sorted(self.problems)), frozenset(self.broken), readable)

    def _again(self, kind: str, name: str, subject: structure.Subject) -> Problem | None:
        """Return the problem when a document of this kind and name was seen already, in whatever state."""
        place = subject.at(("metadata", "name"))
        if (kind, name) not in self.first:
            self.first[(kind, name)] = place
            return None
        message = f"{kind} {quote(name)} stands already at {self.first[(kind, name)]}"
        return Problem(place, "duplicate-name", message, "rename one of the two, or remove it")

    def _leave_out(self, kind: str, name: str, problems: list[Problem]) -> None:
        self.broken.add((kind, name))
        self.problems += problems


def _items(root: Node) -> Iterator[Node]:
    """Yield the manifests in one document: itself, or the items of a List."""
    kind = root.content.get("kind") if isinstance(root.content, dict) else None
    if kind is not None and kind.value.content == "List" and "items" in root.content:
        yield from children(root, "items")
    else:
        yield root


def _kind_of(value: object, place: Location) -> tuple[str | None, Problem | None]:
    """Return the kind word of a document when it is one of ours, else the problem with it."""
    if not isinstance(value, dict):
        message = "a manifest is a mapping with apiVersion, kind, metadata and spec"
        return None, Problem(place, "not-a-manifest", message, "start with apiVersion: " + API_VERSION)
    word = value.get("kind")
    if word is None:
        fix = f"add kind: one of {', '.join(KINDS)}"
        return None, Problem(place, "missing-field", "the document has no kind", fix)
    if isinstance(word, str) and word in KINDS:
        return word, None
    near = did_you_mean(word, KINDS) if isinstance(word, str) else None
    fix = f"did you mean {near}?" if near else f"the kinds are {', '.join(KINDS)}"
    return near, Problem(place, "unknown-kind", f"{quote(word)} is not a kind", fix)


def _name_of(value: Any) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else UNKNOWN


def _guess(lost: str) -> set[tuple[str, str]]:
    """Return which manifests may have stood in a text that is not YAML."""
    kinds = set(_KIND.findall(lost)) & set(KINDS) or {UNKNOWN}
    names = set(_NAME.findall(lost)) or {UNKNOWN}
    return {(kind, name) for kind in kinds for name in names}
