"""Every example of the README and the docs runs as a reader would run it, and prints what the page says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.pages import (
    KAFKA,
    OBJECTS,
    POSTGRES,
    ROOT,
    RUN,
    Block,
    Failed,
    Follower,
    blocks,
    matches,
    pages,
)
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix


def _examples(page: Path) -> str:
    """What a page has its readers type."""
    return "\n".join(block.text for block in blocks(page.read_text()) if block.language in RUN)


GOES_ON = [page for page in pages() if page.stem in ("scale", "produce-to-kafka")]
"""Pages whose reader has settings and topics already, as the page that deploys makes them."""
ON_MANY = [page for page in pages() if KAFKA in _examples(page) or page in GOES_ON]
ON_ONE_MACHINE = [page for page in pages() if _examples(page) and page not in ON_MANY]


def _deployed() -> list[Block]:
    """The blocks that make settings and topics."""
    made = [block for block in blocks((ROOT / "docs/how-to/deploy.md").read_text()) if block.language in RUN]
    (settings,) = [block for block in made if "> loopline.toml" in block.text]
    (topics,) = [block for block in made if block.text.startswith("loopline topics ensure\n")]
    return [settings, topics]


BEFORE_SECRETS = Block("bash", "printf '%s=x\\n' POSTGRES_PASSWORD S3_ACCESS_KEY S3_SECRET_KEY > .env\n", 0)
"""The `.env` of somebody whose Compose files had passwords in it."""


def _follow(page: Path, folder: Path, places: Mapping[str, str] | None = None) -> None:
    follower = Follower(page, folder, places)
    try:
        if page in GOES_ON:
            follower.prepare(_deployed())
        if page.stem == "upgrade":
            follower.prepare([BEFORE_SECRETS])
        follower.follow()
    finally:
        follower.close()
    assert follower.ran == sum(block.language in RUN for block in blocks(page.read_text()))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ON_ONE_MACHINE, ids=lambda page: page.stem)
def test_every_example_runs(page: Path, tmp_path: Path) -> None:
    """A page's blocks run from top to bottom on a fresh machine's folder."""
    _follow(page, tmp_path)


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ON_MANY, ids=lambda page: page.stem)
def test_every_example_runs_on_many_machines(
    page: Path, tmp_path: Path, kafka_cluster: Cluster, postgres_url: str
) -> None:
    """The same where a page speaks of a Kafka of three brokers and a PostgreSQL: it gets both."""
    places = {
        KAFKA: kafka_cluster.address(unique_prefix()),
        POSTGRES: postgres_url,
        OBJECTS: str(tmp_path / "releases"),
    }
    _follow(page, tmp_path, places)


@pytest.mark.parametrize("page", GOES_ON, ids=lambda page: page.stem)
def test_a_page_that_goes_on_keeps_the_settings(page: Path) -> None:
    """Whoever copies it on a machine keeps the bucket, the address and the login that the file has."""
    assert not [block for block in blocks(page.read_text()) if "> loopline.toml" in block.text]


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
