"""The peer: events over HTTP as FastAPI and pydantic do it, one row and one commit an event.

Written as its users write it, and with what makes it fast: pydantic models as a tagged union, validated in
Rust; the same uvicorn with httptools and uvloop, one worker, no access log. Three ways to commit were tried:
a `def` endpoint in FastAPI's pool of threads with a connection each (1,400 requests/s), the same with a lock,
so that SQLite's threads do not sleep and retry (1,600), and an `async def` endpoint that commits right on the
loop (2,000). SQLite writes one transaction at a time in any case, so the last is the fastest, and is the peer
here. It keeps the same promise on disk (write-ahead log, synchronous=FULL) and has no dead letters.
"""

from __future__ import annotations

import socket
import sqlite3
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Id = Annotated[str, Field(min_length=1, max_length=256)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Probability = Annotated[float, Field(ge=0, le=1)]


class Closed(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Made(Closed):
    """What a model answered."""

    prediction_id: Id
    model: Name
    model_version: Name
    output: Any
    confidence: Probability | None = None
    input_ref: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    features: dict[Id, str | float | bool | None] | None = None
    segment: Annotated[str, Field(max_length=128)] | None = None
    person: Id | None = None
    action: Word | None = None


class Targeted(Closed):
    """What is said about a prediction."""

    prediction_id: Id | None = None
    model: Name | None = None
    join_key: Id | None = None
    person: Id | None = None

    @model_validator(mode="after")
    def has_target(self) -> Targeted:
        """Named by its id, or by model and join key."""
        if self.prediction_id is None and (self.join_key is None or self.model is None):
            raise ValueError("a target is missing")
        return self


class Action(Targeted):
    """What a person did with it."""

    value: Word
    duration_ms: Annotated[float, Field(ge=0)] | None = None


class Thumb(Targeted):
    """Up or down."""

    value: Literal["up", "down"]


class Reason(Targeted):
    """What kind of wrong it was."""

    reason: Word
    explains: Id | None = None


class Correction(Targeted):
    """The right label."""

    label: Any
    gold: bool | None = None


class Confirmation(Targeted):
    """Is this right?"""

    value: Literal["yes", "no"]


class Envelope(BaseModel):
    """The CloudEvents envelope."""

    specversion: Literal["1.0"]
    id: Id
    source: Id
    time: AwareDatetime


class PredictionMade(Envelope):
    """`loopline.prediction.made.v1`."""

    type: Literal["loopline.prediction.made.v1"]
    data: Made


class FeedbackAction(Envelope):
    """`loopline.feedback.action.v1`."""

    type: Literal["loopline.feedback.action.v1"]
    data: Action


class FeedbackThumb(Envelope):
    """`loopline.feedback.thumb.v1`."""

    type: Literal["loopline.feedback.thumb.v1"]
    data: Thumb


class FeedbackReason(Envelope):
    """`loopline.feedback.reason.v1`."""

    type: Literal["loopline.feedback.reason.v1"]
    data: Reason


class FeedbackCorrection(Envelope):
    """`loopline.feedback.correction.v1`."""

    type: Literal["loopline.feedback.correction.v1"]
    data: Correction


class FeedbackConfirmation(Envelope):
    """`loopline.feedback.confirmation.v1`."""

    type: Literal["loopline.feedback.confirmation.v1"]
    data: Confirmation


Event = Annotated[
    PredictionMade
    | FeedbackAction
    | FeedbackThumb
    | FeedbackReason
    | FeedbackCorrection
    | FeedbackConfirmation,
    Field(discriminator="type"),
]


class Accepted(BaseModel):
    """The answer."""

    accepted: int
    id: str


def build(path: str) -> FastAPI:
    """The application on a database file."""
    app = FastAPI(openapi_url=None)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE events (source TEXT, id TEXT, type TEXT, time TEXT, received TEXT, data TEXT,"
        " PRIMARY KEY (source, id)) WITHOUT ROWID"
    )

    @app.post("/v1/events")
    async def take(event: Event) -> Accepted:
        with database:
            database.execute(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)",
                (
                    event.source,
                    event.id,
                    event.type,
                    event.time.isoformat(),
                    datetime.now(UTC).isoformat(),
                    event.data.model_dump_json(exclude_unset=True),
                ),
            )
        return Accepted(accepted=1, id=event.id)

    @app.get("/healthz")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    """Serve on a socket that listens already."""
    descriptor, path = int(sys.argv[1]), sys.argv[2]
    config = uvicorn.Config(
        build(path), log_level="warning", access_log=False, http="httptools", loop="uvloop"
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
