"""The first page: the state of the loop, safe to look at, and with a way on where there is nothing yet."""

from __future__ import annotations

import re
from html import unescape

from feedback.api.services import WorkerSays
from feedback.installation.home import HomeMissing
from schemas.instants import SECOND
from tests.feedback.api.test_datasets import publish
from tests.feedback.conftest import Loop, correction, declared, made
from tests.streams.asking import SINGLE, event, thumb


def page(loop: Loop) -> str:
    """The page's HTML."""
    answer = loop.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def words(html: str) -> str:
    """What a person reads."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_an_empty_page_says_how_to_begin(loop: Loop) -> None:
    """Its commands work as they stand: sent one after the other, they make the first joined feedback."""
    html = page(loop)
    assert "Nothing has arrived yet" in html
    commands = [unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL)]
    assert len(commands) == 2
    for command in commands:
        assert "http://testserver/v1/events" in command
        body = command.split("-d '", 1)[1].rstrip().rstrip("'")
        answer = loop.client.post("/v1/events", content=body, headers={"content-type": SINGLE})
        assert answer.status_code == 200
    loop.project()
    text = words(page(loop))
    assert "Nothing has arrived yet" not in text
    assert "thumb thumb-1 p-1" in text
    assert "received joined in effect" in text


def test_the_page_shows_the_state(loop: Loop) -> None:
    """Counts with their n, timelines, what waits and since when, refusals with reasons, releases, lag."""
    loop.send(declared())
    for number in range(30):
        loop.send(made(f"p-{number}"), thumb(f"t-{number}", f"p-{number}"))
    loop.send(correction("c-1", "zebra", "p-1"), thumb("early", "p-99"), {"id": "bad"})
    publish(loop.datasets, "digits", 2)
    loop.now += 3 * 3600 * SECOND
    text = words(page(loop))
    for expected in (
        "30 predictions",
        "31 pieces of feedback that count",
        "1 waiting",
        "2 refused, and kept",
        "views are up to date",
        "feedback.thumb 30 30",
        "Thumbs up 89% to 100% (n = 30)",
        "feedback.thumb prediction:p-99 3 h",
        "waiting for prediction:p-99",
        "discarded label_invalid",
        "invalid_value A value is missing or not allowed 1",
        "dead:0:0",
        "digits@2",
    ):
        assert expected in text
    loop.send(thumb("late", "p-1"), project=False)
    assert "views are 1 block behind" in words(page(loop))


def test_too_little_data_is_said(loop: Loop) -> None:
    """A share of two votes is no number."""
    loop.send(made(), thumb("t-1"), thumb("t-2"))
    assert "Thumbs up not enough data yet (n = 2)" in words(page(loop))


def test_what_people_send_is_only_text(loop: Loop) -> None:
    """Ids, words, segments and refusals are escaped; no script runs and no other host is asked."""
    evil = "<script>alert(1)</script>\"'><img src=x>"
    loop.send(
        made(evil, id=evil),
        thumb(evil, evil),
        thumb("t" + evil, "unknown" + evil),
        event(evil, "x"),
        thumb(evil + "2", value=evil),
    )
    answer = loop.client.get("/", headers={"host": "evil.example'\"><script>"})
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r'(?:src|href)="(?!/|data:)', answer.text)


def test_the_page_is_there_before_the_views(loop: Loop) -> None:
    """A server that has only just begun says so."""
    loop.store = HomeMissing("there are no views yet")
    assert "The views are not there yet" in page(loop)


def test_a_worker_that_refuses_is_shown_with_its_reason(loop: Loop) -> None:
    """Who looks at a page that stands still learns why."""
    loop.said = WorkerSays("refused", "the log is older than its store")
    assert "The worker refuses to run the log is older than its store" in words(page(loop))


def test_what_was_put_back_is_neither_refused_nor_among_the_latest(loop: Loop) -> None:
    """Nobody is advised to replay what is settled; what is still open is found behind it."""
    for number in range(1, 9):
        loop.send({**made(f"p-{number}"), "time": "yesterday"})
    for number in range(2, 9):
        loop.send({**made(f"p-{number}"), "looplinereplay": f"dead:{number - 1}:0"})
    text = words(page(loop))
    assert "1 refused, and kept" in text
    assert "dead:0:0" in text
    assert "dead:3:0" not in text
    assert "7 put back and accepted" in text
    loop.send({**made("p-1"), "looplinereplay": "dead:0:0"})
    text = words(page(loop))
    assert "0 refused, and kept" in text
    assert "8 put back and accepted" in text
    assert "dead-letters replay" not in text


def test_feedback_that_waits_names_what_it_waits_for(loop: Loop) -> None:
    """It is about something, which is not known yet."""
    loop.send(thumb("early", "p-99"))
    assert "waits for prediction:p-99" in words(page(loop))
