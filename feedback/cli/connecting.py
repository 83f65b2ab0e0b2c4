"""Where a command's questions and events go: to the running server, or to the home itself.

`connect` takes the server that `--url` names, else the one that runs on the home, else holds the home's
lock and answers in process, through the very same application. What is asked is left to the commands.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from feedback.cli.endings import Refused, Unreachable
from feedback.cli.options import Choices
from feedback.home import Home, HomeMissing, Locked
from feedback.service import Answer, NoAnswer, OverHttp, Service, path_of

_PATIENCE_S = 2.0
_LOCK_WAIT_S = 10.0


@contextlib.contextmanager
def connect(choices: Choices) -> Iterator[Service]:
    """The service that these choices lead to. Raises Unreachable."""
    service = _find(choices)
    try:
        yield service
    except NoAnswer as error:
        raise Unreachable(f"{error}. Is it running? `loopline doctor` looks for the reason.") from None
    finally:
        service.close()


def _find(choices: Choices) -> Service:
    url = choices["url"]
    if url is not None:
        return OverHttp(url)
    home = Home(choices.home)
    running = running_server(home)
    if running is not None:
        return running
    # Loaded late: a command that speaks to a server needs no store, log or application.
    from feedback.bootstrap import InProcess

    try:
        home.must_exist()
        return InProcess(home, wait_s=_LOCK_WAIT_S)
    except Locked as error:
        raise Unreachable(f"{error} It does not answer, though.") from None
    except HomeMissing as error:
        raise Unreachable(f"no server runs, and {error}") from None


def running_server(home: Home) -> OverHttp | None:
    """The server that runs on a home and answers; a starting one is waited for."""
    deadline = time.monotonic() + _PATIENCE_S
    while (info := home.server()) is not None:
        service = OverHttp(info.url)
        try:
            service.request("GET", "/healthz")
        except NoAnswer:
            service.close()
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)
        else:
            return service
    return None


def ask(service: Service, path: str) -> Any:
    """The JSON that a GET answers with. Raises Refused with the problem's words, Unreachable for a 5xx."""
    answer = service.request("GET", path)
    if answer.status == 200:
        return answer.json()
    raise refusal(service, answer)


def refusal(service: Service, answer: Answer) -> Refused:
    """What to tell about an answer that is not the one hoped for."""
    problem = answer.json()
    if isinstance(problem, dict) and "detail" in problem:
        said = f"{problem.get('title', answer.status)}: {problem['detail']}"
    else:
        said = f"{service.name} answered {answer.status}"
    return (Unreachable if answer.status >= 500 else Refused)(said)


def pages(service: Service, *parts: str, most: int | None = None, **query: Any) -> Iterator[Any]:
    """The items of a paged list, page after page, up to `most`."""
    following: str | None = None
    given = 0
    while True:
        limit = 1000 if most is None else min(1000, most - given)
        if limit <= 0:
            return
        page = ask(service, path_of(*parts, **query, limit=limit, next=following))
        yield from page["items"]
        given += len(page["items"])
        following = page.get("next")
        if following is None:
            return
