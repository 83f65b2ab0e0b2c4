"""What each read route refuses to be asked, and that a page of a list is found again."""

from __future__ import annotations

import pytest

from feedback.api.services import Waits
from tests.feedback.conftest import Loop
from tests.streams.asking import thumb

REF = "ab" * 32
READS = (
    "/v1/predictions/p-1",
    "/v1/feedback/t-1",
    "/v1/waiting",
    "/v1/counts",
    "/v1/labels/m",
    "/v1/outcomes/m",
    "/v1/dead-letters",
    "/v1/datasets",
    "/v1/datasets/m/1",
    "/v1/datasets/m/1/files/train.parquet",
)
LISTS = ("/v1/waiting", "/v1/counts", "/v1/labels/m", "/v1/outcomes/m", "/v1/dead-letters", "/v1/datasets")


@pytest.mark.parametrize("path", READS)
def test_unknown_parameters_are_refused(loop: Loop, path: str) -> None:
    """A misspelt parameter is 400 with the ones there are, and never ignored."""
    refusal = loop.get(path, 400, mdoel="m")
    assert refusal["code"] == "invalid_request"
    assert "after" in refusal["detail"]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("after", ["", "0", "0:x", "0:-1", "a:1", "0:1,0:2", "7:1", "0:1;1:2"])
def test_a_malformed_position_is_refused(loop: Loop, path: str, after: str) -> None:
    """No text that is not a position of this log is waited for."""
    assert loop.get(path, 400, after=after)["code"] == "invalid_request"


def test_a_position_of_an_epoch_that_is_news_here_is_waited_for(loop: Loop) -> None:
    """One of several collectors may be in the next epoch first: the positions it gives are no mistake."""
    loop.work_with(own_views=False, waits=Waits(after=0.05))
    assert loop.get("/v1/waiting", 504, after="0:0,7:1")["code"] == "not_caught_up"
    assert loop.get("/v1/waiting", after="0:0,7:0")["items"] == []


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "²"},
        {"next": "!!"},
        {"next": "gaFhAQ"},
        {"next": "ä"},
        {"next": "k_8BAAAA"},
    ],
)
def test_a_malformed_page_is_refused(loop: Loop, path: str, parameters: dict[str, str]) -> None:
    """A limit is 1 to 1,000, and `next` is a token that a page of this list gave."""
    assert loop.get(path, 400, **parameters)["code"] == "invalid_request"


@pytest.mark.parametrize(
    "path,parameters",
    [
        ("/v1/counts", {"by": "mood"}),
        ("/v1/counts", {"by": "kind,kind"}),
        ("/v1/counts", {"by": ","}),
        ("/v1/counts", {"from": "yesterday"}),
        ("/v1/counts", {"to": "2026-13-01"}),
        ("/v1/counts", {"to": "20261101"}),
        ("/v1/counts", {"from": "0001-01-01"}),
        ("/v1/outcomes/m", {"by": "day"}),
        ("/v1/outcomes/m", {"from": "2026-02-30"}),
        ("/v1/labels/m", {"disagree": "perhaps"}),
        ("/v1/dead-letters", {"code": "bad_mood"}),
        ("/v1/overrides/m", {}),
        ("/v1/overrides/m", {"person": "ann"}),
        ("/v1/overrides/m", {"person": "", "input_ref": REF}),
        ("/v1/overrides/m", {"person": "ann", "input_ref": REF.upper()}),
    ],
)
def test_malformed_parameters_are_refused(loop: Loop, path: str, parameters: dict[str, str]) -> None:
    """What cannot be understood is 400, with what would be."""
    assert loop.get(path, 400, **parameters)["code"] == "invalid_request"


def test_a_parameter_is_given_once(loop: Loop) -> None:
    """Of two values neither is chosen."""
    for query in ("model=a&model=b", "after=0:0&after=0:0"):
        assert loop.client.get(f"/v1/counts?{query}").status_code == 400


def test_a_token_outlives_what_comes_between(loop: Loop) -> None:
    """Rows that come while somebody turns the pages show nothing twice and skip nothing that was there."""
    loop.send(*[thumb(f"t-{number}", f"p-{number:02}") for number in range(0, 20, 2)])
    first = loop.get("/v1/waiting", limit=5)
    loop.send(*[thumb(f"t-{number}", f"p-{number:02}") for number in range(1, 20, 2)])
    rest = loop.pages("/v1/waiting", limit=5, next=first["next"])
    seen = [item["id"] for item in first["items"] + rest]
    assert len(set(seen)) == len(seen)
    assert {f"t-{number}" for number in range(0, 20, 2)} <= set(seen)
