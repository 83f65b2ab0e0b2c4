"""Text that others wrote, where a person reads it: what a screen would obey is shown instead.

An id, a label or a comment may hold escape sequences that rewrite a terminal, marks that turn the direction
of a line around, or line ends that look like lines of ours. `for_terminal` shows each as an escape.
`for_markdown` does so too, and takes their meaning from the characters of Markdown and HTML; `as_code` is the
same for what stands in backticks, in a table or elsewhere. JSON, Parquet and the log keep every text exactly.
"""

from __future__ import annotations

import re

# C0, DEL and C1; the soft hyphen; marks and overrides of direction; separators of lines and paragraphs; what
# has no width (but for the joiners that scripts need); annotations, tags, and halves of characters.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_ACTIVE = re.compile(f"[{_UNSEEN}]")
_ACTIVE_IN_LINES = re.compile(f"(?![\n\t])[{_UNSEEN}]")
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+.!|~$-]")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def for_terminal(text: str, *, lines: bool = False) -> str:
    """The text with all that a terminal would obey shown as an escape; `lines` keeps line ends and tabs."""
    if text.isprintable():
        return text
    return (_ACTIVE_IN_LINES if lines else _ACTIVE).sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_markdown(text: str) -> str:
    """The text as a piece of a line of Markdown that says just that."""
    plain = for_terminal(" ".join(text.split()))
    escaped = _MARKDOWN.sub(lambda found: "\\" + found[0], plain)
    return "".join(_HTML.get(character, character) for character in escaped)


def as_code(text: str) -> str:
    """The text as code in Markdown, in a table too: the backtick and the bar are shown as their likes."""
    plain = for_terminal(" ".join(text.split()))
    return "`" + plain.replace("`", "'").replace("|", "¦") + "`"
