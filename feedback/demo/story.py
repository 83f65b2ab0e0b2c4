"""The story of the demo, step by step: from forty labels to a better model, and back along one correction.

Each step does something through a door that a product has too (the client, HTTP, the command line) and then
reads what became of it. Numbers are printed as they are read; only the truth, which decides what people say
and how good a model is, is the demo's own.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from feedback.demo.afterwards import after_the_exam
from feedback.demo.exam import FULL, Size
from feedback.demo.examweek import exam_week
from feedback.demo.stage import Stage
from feedback.demo.telling import Teller
from feedback.home import Home
from feedback.supervisor import Supervisor, stopped_by_signals

_HEAD = """\
Loopline: the whole loop, on an exam form reader.

   A model reads digits that students wrote. Markers see its answers and say what they think of them.
   The digits are real (scikit-learn's 1,797); the people are simulated, the server and its numbers are not.
"""

_NEXT = """
Look around. The server is running until Ctrl-C.

   {url}/                            what came, what waits, what was refused
   {url}/v1/predictions/{prediction}
   {loopline} --home {home} waiting
   {loopline} --home {home} dead-letters list
   {loopline} --home {home} labels digit-reader --disagree
   {loopline} --home {home} dataset show digit-reader@1
"""

_ENDED = """
The server is stopped; everything it took is in {home}. Look around with:

   {loopline} --home {home} up
"""


def run(
    home: Home,
    host: str = "127.0.0.1",
    port: int = 8710,
    *,
    serve: bool = True,
    as_json: bool = False,
    size: Size = FULL,
) -> None:
    """Play the demo on a fresh home.

    Args:
        home: where it happens; nothing may be there yet.
        host, port: where the server listens.
        serve: leave the server running at the end, until Ctrl-C or SIGTERM.
        as_json: one document of figures on standard output, the prose on standard error.
        size: how many pictures take part.
    """
    from feedback.bootstrap import configure_logs

    configure_logs("warning")
    teller = Teller(as_json=as_json)
    server = Supervisor(home, host, port)
    try:
        server.start()
        teller.line(_HEAD)
        words = {"url": server.url, "home": _shown(home.path), "loopline": _command()}
        teller.line(f"   home    {words['home']}")
        teller.line(f"   server  {server.url}")
        stage = Stage(home, server.url, teller, size)
        try:
            exam_week(stage)
            after_the_exam(stage)
        finally:
            stage.close()
        teller.document()
        if serve:
            teller.line(_NEXT.format(**words, prediction=stage.followed))
            with stopped_by_signals() as stop:
                server.watch(stop)
        else:
            teller.line(_ENDED.format(**words))
    finally:
        server.stop()


def _shown(path: Path) -> str:
    """A path as somebody who stands here would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _command() -> str:
    """What to type for the command line: its name, or where it is when the name is not enough."""
    started = Path(sys.argv[0])
    if shutil.which("loopline") is not None or started.name != "loopline":
        return "loopline"
    return _shown(started.absolute())
