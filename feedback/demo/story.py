"""The story of the demo, step by step: from forty labels to a better model, and back along one correction.

Each step does something through a door that a product has too (the client, HTTP, the command line) and then
reads what became of it. Numbers are printed as they are read; only the truth, which decides what people say
and how good a model is, is the demo's own.
"""

from __future__ import annotations

from feedback.demo.afterwards import after_the_exam
from feedback.demo.exam import FULL, Size
from feedback.demo.examweek import exam_week
from feedback.demo.stage import Stage
from feedback.demo.telling import Teller
from feedback.demo.venues import Venue, typed_command
from feedback.processes.logging import configure
from feedback.processes.supervisor import stopped_by_signals
from feedback.settings import value

_HEAD = """\
Loopline: the whole loop, on an exam form reader.

   A model reads digits that students wrote. Markers see its answers and say what they think of them.
   The digits are real (scikit-learn's 1,797); the people are simulated, the server and its numbers are not.
"""

_NEXT = """
Look around. The server is running until Ctrl-C.

   {url}/                            what came, what waits, what was refused
   {url}/v1/predictions/{prediction}
   {loopline} waiting
   {loopline} dead-letters list
   {loopline} labels digit-reader --disagree
   {loopline} dataset show digit-reader@1
"""

_ENDED = """
The server is stopped; everything it took is in {place}.{again}
"""


def run(venue: Venue, *, serve: bool = True, as_json: bool = False, size: Size = FULL) -> None:
    """Play the demo.

    Args:
        venue: where it happens; nothing may be there yet.
        serve: leave the server running at the end, until Ctrl-C or SIGTERM.
        as_json: one document of figures on standard output, the prose on standard error.
        size: how many pictures take part.
    """
    configure("warning", value("log_format"), "demo")
    teller = Teller(as_json=as_json)
    try:
        url = venue.start()
        teller.line(_HEAD)
        for what, where in venue.places():
            teller.line(f"   {what:<7} {where}")
        teller.line(f"   server  {url}")
        stage = Stage(venue, url, teller, size)
        try:
            exam_week(stage)
            after_the_exam(stage)
        finally:
            stage.close()
        teller.document()
        loopline = f"{typed_command()} {venue.typed(url)}"
        if serve:
            teller.line(_NEXT.format(url=url, loopline=loopline, prediction=stage.followed))
            with stopped_by_signals() as stop:
                venue.watch(stop)
        else:
            place = " and ".join(where for _, where in venue.places())
            teller.line(_ENDED.format(place=place, again=venue.again(typed_command())))
    finally:
        venue.stop()
