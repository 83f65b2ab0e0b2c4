"""Every example of the README and the docs runs as a reader would run it, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import RUN, Block, Failed, Follower, blocks, matches, pages

WITH_EXAMPLES = [page for page in pages() if any(block.language in RUN for block in blocks(page.read_text()))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_every_example_runs(page: Path, tmp_path: Path) -> None:
    """A page's blocks run from top to bottom on a fresh machine's folder."""
    follower = Follower(page, tmp_path)
    try:
        follower.follow()
    finally:
        follower.close()
    assert follower.ran == sum(block.language in RUN for block in blocks(page.read_text()))


def test_blocks_are_found() -> None:
    """A block has its language, its text without the indent of the list it stands in, and its line."""
    page = "a\n```bash\nls\n```\n- b\n\n  ```python\n  if x:\n      y\n  ```\n"
    assert list(blocks(page)) == [Block("bash", "ls\n", 2), Block("python", "if x:\n    y\n", 7)]


def test_expected_output_is_compared() -> None:
    """What is printed must be what the page says, but for what stands under an ellipsis."""
    assert matches("one …\nthree", "one two\nthree  \n")
    assert not matches("one …\nthree", "one two\nfour")
    assert not matches("one", "one two")


@pytest.mark.parametrize(
    "text",
    ["```bash\nfalse\n```", "```python\n1 / 0\n```", "```bash\necho one\n```\n\n```text\ntwo\n```"],
)
def test_a_wrong_example_is_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that fails, or prints something else than the page says, fails the page."""
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    follower = Follower(page, tmp_path)
    try:
        with pytest.raises(Failed, match=r"page\.md"):
            follower.follow()
    finally:
        follower.close()
