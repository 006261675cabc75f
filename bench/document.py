"""Generated parts of documents: what stands between two marker comments is replaced, the rest is people's."""

from collections.abc import Sequence
from pathlib import Path


def replace_part(document: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. Raises ValueError if the markers are missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = document.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{document} has no part {begin} … {end}")
    document.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
