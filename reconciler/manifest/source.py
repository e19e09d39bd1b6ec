"""From a YAML text to documents whose every key, item and value knows its line and column.

Built on libyaml's events, not on PyYAML's composer, because that recurses without a limit and expands aliases
without counting. Anchors, aliases and merge keys (`<<`) work inside a document. A document that cannot be read does
not take the others of its file with it: reading goes on at the next `---`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from reconciler.manifest import scalars
from reconciler.manifest.manifest_set import Location, Problem
from reconciler.manifest.nodes import Entry, Node
from reconciler.manifest.quote import quote
from reconciler.manifest.syntax import Broken, broken_syntax, inside, offset_of

MAX_DEPTH = 64
MAX_NODES = 100_000
"""Keys, items and values of one document, after aliases are expanded. A large manifest has a few hundred."""
MAX_NODES_PER_FILE = 1_000_000
MAX_DOCUMENTS = 10_000
"""Documents in one file."""
MAX_PROBLEMS = 200
"""Problems of reading after which the rest of a file is left unread."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "<<"
_NEXT_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)
# What is not one of YAML's printable characters, and what libyaml (YAML 1.1) would take for a line break though no
# editor does, so that our line numbers agree. Source: https://yaml.org/spec/1.2.2/#51-character-set
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]|\r(?!\n)"
)


@dataclass(frozen=True)
class Document:
    """One document that could be read. `flaws` are the places of problems that still left it readable."""

    root: Node
    flaws: frozenset[Location] = frozenset()


@dataclass
class Parsed:
    """What one file held: its documents, less empty ones, what is wrong, and the stretches that could not be read."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def parse(file: str, text: str) -> Parsed:
    """Read all documents of a text. Never raises: what is wrong stands in `problems`."""
    parsed = Parsed()
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        parsed.problems.append(_unprintable(file, text, bad))
        parsed.lost.append(text)
        return parsed
    start, line, nodes_left = 0, 1, MAX_NODES_PER_FILE
    while start < len(text):
        reader = _Reader(file, text[start:], line, parsed, nodes_left)
        stop = reader.run()
        if stop is None:
            break
        if len(parsed.problems) >= MAX_PROBLEMS:
            parsed.lost.append(text[start + stop :])
            break
        nodes_left = reader.nodes_left
        start, line = start + stop, line + text.count("\n", start, start + stop)
    return parsed


class _Frame:
    """A mapping or sequence that is still open. `key` is the mapping's key that waits for its value."""

    __slots__ = ("anchor", "entries", "height", "items", "key", "merges", "node", "size")

    def __init__(self, node: Node, anchor: str | None, *, mapping: bool) -> None:
        self.node = node
        self.anchor = anchor
        self.entries: dict[str, Entry] | None = {} if mapping else None
        self.items: list[Node] = []
        self.merges: list[Node] = []
        self.key: tuple[str, bool, int, int] | None = None
        self.size = 1
        self.height = 0


class _Reader:
    """Turns the events of one stretch of text into documents, until its end or the first break."""

    def __init__(self, file: str, text: str, first_line: int, parsed: Parsed, nodes_left: int) -> None:
        self.file = file
        self.text = text
        self.first_line = first_line
        self.parsed = parsed
        self.nodes_left = nodes_left
        self.nodes = 0
        self.frames: list[_Frame] = []
        self.anchors: dict[str, Node | None] = {}
        self.root: Node | None = None
        self.document_line = 0
        self.problems_before = 0

    def run(self) -> int | None:
        """Read on; return where in the text the document after a break starts, or None when the text is used up."""
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                handler = _HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        except Broken as broken:
            return self._skip(broken)
        except yaml.MarkedYAMLError as error:
            return self._skip(broken_syntax(error, self.text, self.first_line))
        return None

    def start_document(self, event: Any) -> None:
        if len(self.parsed.documents) >= MAX_DOCUMENTS:
            message = f"the file has more than {MAX_DOCUMENTS:,} documents"
            raise Broken(
                *self._at(event), "too-many-documents", message, "split it into several files", final=True
            )
        self.document_line = event.start_mark.line
        self.problems_before = len(self.parsed.problems)
        self.nodes = 0
        self.frames, self.anchors, self.root = [], {}, None

    def end_document(self, event: Any) -> None:
        if self.root is not None and self.root.content is not None:
            flaws = frozenset(problem.location for problem in self.parsed.problems[self.problems_before :])
            self.parsed.documents.append(Document(self.root, flaws))

    def scalar(self, event: Any) -> None:
        line, column = self._at(event)
        self._count(1, line, column)
        if self._wants_key():
            merge = event.value == _MERGE and not event.style and event.tag is None
            self._open_key(event.value, line, column, merge=merge)
        else:
            self._add(Node(self._value(event, line, column), line, column), event.anchor)

    def alias(self, event: Any) -> None:
        line, column = self._at(event)
        shown = quote(event.anchor)
        if event.anchor not in self.anchors:
            raise Broken(
                line, column, "bad-alias", f"no anchor {shown} stands above in this document", "define it"
            )
        node = self.anchors[event.anchor]
        if node is None:
            raise Broken(
                line, column, "bad-alias", f"the anchor {shown} holds an alias of itself", "write it out"
            )
        if self._wants_key():
            raise _bad_key(line, column)
        self._count(node.size, line, column)
        if len(self.frames) + node.height > MAX_DEPTH:
            raise _too_deep(line, column)
        self._add(node, None)

    def open(self, event: Any) -> None:
        line, column = self._at(event)
        self._count(1, line, column)
        if self._wants_key():
            raise _bad_key(line, column)
        if len(self.frames) >= MAX_DEPTH:
            raise _too_deep(line, column)
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{'map' if mapping else 'seq'}"):
            self._problem(
                line, column, "bad-tag", f"the tag {quote(event.tag)} has no meaning here", "remove the tag"
            )
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.frames.append(_Frame(Node(None, line, column), event.anchor, mapping=mapping))

    def close(self, event: Any) -> None:
        frame = self.frames.pop()
        if frame.entries is not None:
            self._merge(frame, frame.entries)
        node = frame.node
        node.content = frame.items if frame.entries is None else frame.entries
        node.size, node.height = frame.size, frame.height + 1
        self._add(node, frame.anchor)

    def _at(self, event: Any) -> tuple[int, int]:
        return event.start_mark.line + self.first_line, event.start_mark.column + 1

    def _problem(self, line: int, column: int, rule: str, message: str, fix: str) -> None:
        self.parsed.problems.append(Problem(Location(self.file, line, column), rule, message, fix))

    def _wants_key(self) -> bool:
        return bool(self.frames) and self.frames[-1].entries is not None and self.frames[-1].key is None

    def _count(self, nodes: int, line: int, column: int) -> None:
        self.nodes += nodes
        self.nodes_left -= nodes
        if self.nodes > MAX_NODES or self.nodes_left < 0:
            limit = MAX_NODES if self.nodes > MAX_NODES else MAX_NODES_PER_FILE
            message = f"more than {limit:,} keys, items and values, with aliases expanded"
            final = self.nodes_left < 0
            raise Broken(
                line, column, "too-many-nodes", message, "split it, or use fewer aliases", final=final
            )

    def _open_key(self, key: str, line: int, column: int, *, merge: bool) -> None:
        frame = self.frames[-1]
        first = frame.entries.get(key) if frame.entries is not None and not merge else None
        if first is not None:
            message = f"the key {quote(key)} stands twice in one mapping; the first is in line {first.line}"
            self._problem(line, column, "duplicate-key", message, "keep one of the two")
        frame.key = (key, merge, line, column)

    def _add(self, node: Node, anchor: str | None) -> None:
        """Put a finished value into the collection that is open, or make it the document."""
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        frame.height = max(frame.height, node.height)
        frame.size += node.size
        if frame.entries is None:
            frame.items.append(node)
        elif frame.key is not None:
            frame.size += 1
            self._add_entry(frame, frame.entries, frame.key, node)
            frame.key = None

    def _add_entry(
        self, frame: _Frame, entries: dict[str, Entry], key: tuple[str, bool, int, int], node: Node
    ) -> None:
        word, merge, line, column = key
        if not merge:
            entries.setdefault(word, Entry(line, column, node))
        elif all(isinstance(part.content, dict) for part in _merged(node)):
            frame.merges += _merged(node)
        else:
            message = "the merge key << takes a mapping, or a list of mappings"
            self._problem(line, column, "bad-merge", message, 'write an alias such as "<<: *base"')

    def _merge(self, frame: _Frame, entries: dict[str, Entry]) -> None:
        """Fill in merged keys; those written out, and earlier merges, win.

        Source: https://yaml.org/type/merge.html
        """
        for node in frame.merges:
            for key, entry in node.content.items():
                entries.setdefault(key, entry)

    def _value(self, event: Any, line: int, column: int) -> scalars.Scalar:
        try:
            if event.tag is not None:
                return scalars.tagged(event.tag, event.value)
            return event.value if event.style else scalars.plain(event.value)
        except scalars.BadScalar as error:
            if event.tag is None:
                fix = "put it in quotes if it is text"
                self._problem(line, column, "bad-number", f"{quote(event.value)}: {error}", fix)
            else:
                what = f"{quote(event.value)} with the tag {quote(event.tag)}"
                self._problem(line, column, "bad-tag", f"{what}: {error}", "leave out the tag")
            return str(event.value)

    def _skip(self, broken: Broken) -> int | None:
        """Note the problem and what is lost by it; return where the next document starts."""
        line, column = inside(broken.line - self.first_line, broken.column, self.text)
        place = Location(self.file, line + self.first_line, column)
        problem = Problem(place, broken.rule, broken.message, broken.fix)
        if problem not in self.parsed.problems[-1:]:
            self.parsed.problems.append(problem)
        begin = offset_of(self.text, self.document_line)
        # The break may have been noticed only at the `---` of the document after; then it is met there once more.
        after = _NEXT_DOCUMENT.search(self.text, offset_of(self.text, max(line, self.document_line + 1)))
        end = after.start() if after is not None and not broken.final else None
        self.parsed.lost.append(self.text[begin:end])
        return end


_HANDLERS: dict[type, Any] = {
    yaml.DocumentStartEvent: _Reader.start_document,
    yaml.DocumentEndEvent: _Reader.end_document,
    yaml.ScalarEvent: _Reader.scalar,
    yaml.AliasEvent: _Reader.alias,
    yaml.SequenceStartEvent: _Reader.open,
    yaml.MappingStartEvent: _Reader.open,
    yaml.SequenceEndEvent: _Reader.close,
    yaml.MappingEndEvent: _Reader.close,
}


def _merged(node: Node) -> list[Node]:
    return node.content if isinstance(node.content, list) else [node]


def _bad_key(line: int, column: int) -> Broken:
    return Broken(
        line, column, "bad-key", "a key must be plain text, not an alias, list or mapping", "write it out"
    )


def _too_deep(line: int, column: int) -> Broken:
    return Broken(
        line, column, "too-deep", f"nested more than {MAX_DEPTH} levels deep", "no manifest needs this"
    )


def _unprintable(file: str, text: str, bad: re.Match[str]) -> Problem:
    line = text.count("\n", 0, bad.start()) + 1
    column = bad.start() - text.rfind("\n", 0, bad.start())
    message = f"the character U+{ord(bad.group()):04X} must not stand in YAML"
    return Problem(
        Location(file, line, column), "control-character", message, "remove it, or write it as an escape"
    )
