"""What YAML's parser complains about, as a person would say it: most of it is a missing quote, a tab or a wrong indentation."""

from __future__ import annotations

import re

import yaml

_SIGNS = (
    (r"undefined alias", "refers with * to a name that no & gave before; right would be quotes around the text, if the * belongs to it"),
    (r"anchor|did not find expected alphabetic", "begins a text with & or *, which YAML takes for a reference; right would be quotes around the text"),
    (r"constructor for the tag '?(![^' ]*)", 'uses the tag {tag}, which is not known here; right would be a plain value, and "${secret:name}" for a secret'),
    (r"cannot start any token", "begins a text with a sign that YAML keeps for itself; right would be quotes around the text"),
    (r"while scanning a quoted scalar|found unexpected end of stream", "opens a quote that is never closed; right would be the same quote at the end of the text"),
    (r"mapping values are not allowed", "has a colon where none can be: the line is indented wrongly, or a text with `: ` is not in quotes; right would be one `key: value` a line"),
    (r"could not find expected ':'", "lacks a colon after a key, or a blank after the colon; right would be `key: value`"),
    (r"expected ',' or '[\]}]'", "lacks a comma or a closing bracket before here; right would be both, and quotes around a text with { } [ ] or a comma"),
    (r"expected (key|'-' indicator|<block end>)|block (collection|mapping|sequence)", "is indented otherwise than the lines it belongs to; right would be as many blanks as they have"),
    (r"expected <document start>", "goes on where the file was at its end: lines of TOML or INI, perhaps; right would be `key: value` lines"),
    (r"expected node content", "has a sign where a value should stand; right would be a value, or quotes around a text that begins with that sign"),
    (r"single document", "begins a second document (`---`); right would be one in a file"),
    (r"special characters are not allowed|control characters", "holds a character that no text has; right would be plain text"),
)  # fmt: skip


def in_words(error: yaml.YAMLError, text: str) -> tuple[str, int | None]:
    """The sentence and the line, 1-based."""
    line = _line(error, text)
    told = str(error)
    here = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    if re.search(r"(?<![\"'])\$\{", here) and not re.search(r"tab|special", told):
        return 'is not YAML here; right would be quotes around the reference: "${secret:name}"', line
    if re.match(r" *\t", here):
        more = sum(bool(re.match(r" *\t", each)) for each in text.splitlines()) - 1
        others = f" (as are {more} more lines)" if more else ""
        return f"is indented with a tab{others}; right would be blanks", line
    for sign, words in _SIGNS:
        found = re.search(sign, told)
        if found:
            return words.replace("{tag}", found[found.re.groups]), line
    plain = getattr(error, "problem", None) or "cannot be read"
    return f"is not YAML: {plain}; right would be `key: value` lines", line


def _line(error: yaml.YAMLError, text: str) -> int | None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if "single document" in str(error):
        mark = getattr(error, "problem_mark", mark)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", None)
    return None if position is None else text.count("\n", 0, position) + 1
