"""What a server's log tells of the events that operators look for."""

from __future__ import annotations

from typing import Any

from tests.feedback.conftest import Loop
from tests.streams.asking import event


def test_a_batch_of_deploys_is_a_few_lines(loop: Loop, log_lines: list[Any]) -> None:
    """Each deploy is a line, the same ones once; a line takes time, so a large batch has no thousand."""
    loop.send(event("model.deployed", "d-1", model="m", model_version="1"))
    assert [(line["event"], line["version"]) for line in log_lines] == [("a model was deployed", "1")]
    log_lines.clear()
    versions = [str(number) for number in range(100)] * 2
    loop.send(
        *(
            event("model.deployed", f"e-{number}", model="m", model_version=version)
            for number, version in enumerate(versions)
        )
    )
    assert len(log_lines) == 11
    assert log_lines[-1]["lines_left_out"] == 90
