"""Labels that were refused by the declared shape: counted, and told to whoever trains on the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedback.datasets.cut.refused_labels import RefusedLabels
from models.estimate import wilson
from tests.feedback.datasets.world import World

ungated = pytest.mark.usefixtures("ungated")


@ungated
def test_corrections_that_do_not_fit_are_counted_with_their_share(world: World) -> None:
    """One a person and prediction, of this model and environment alone; in manifest, card and gate."""
    world.labelled(range(30))
    world.say(*(world.corrected(number, "nine", person="u-2") for number in range(10)))
    # The same person again counts once, and so does one who found a fitting label before.
    world.say(world.corrected(0, "ten", person="u-2"), world.corrected(1, "nine", person="u-1"))
    # Taken back, of another environment, of a version without a declaration: none of them counts.
    gone = world.corrected(2, "nine", person="u-3")
    world.say(gone)
    world.say(world.event("feedback.retraction", prediction_id="p-2", person="u-3", explains=gone["id"]))
    world.say(world.predicted(90, env="staging"), world.corrected(90, "nine"))
    world.say(world.predicted(91, model_version="2"), world.corrected(91, "nine"))
    published = world.release()
    low, high = wilson(11, 40)
    assert published.manifest["label_invalid"] == {
        "refused": 11,
        "corrections": 40,
        "share": 11 / 40,
        "low": low,
        "high": high,
        "enough": True,
    }
    (caveat,) = published.manifest["gate"]["caveats"]
    assert "27.5% (" in caveat
    assert caveat in (Path(published.place) / "README.md").read_text()
    report = msgspec.json.decode((Path(published.place) / "gate.json").read_bytes())
    assert report["caveats"] == [caveat]


@ungated
@pytest.mark.parametrize(
    "filters, expected",
    [
        ({"segment": "web"}, (3, 13)),
        ({"segment": "app"}, (2, 12)),
        ({"model_version": "1"}, (5, 25)),
        ({"since": "2026-05-28"}, (5, 25)),
        ({"since": "2026-05-28T20:00:00Z"}, (5, 25)),
    ],
)
def test_the_filters_hold_for_them_too(
    world: World, filters: dict[str, Any], expected: tuple[int, int]
) -> None:
    """By version, segment and whole UTC days."""
    for start, segment, refused in ((0, "web", 3), (50, "app", 2)):
        world.labelled(range(start, start + 10), segment=segment)
        world.say(*(world.corrected(start + n, "nine", person="u-2") for n in range(refused)))
    said = world.release(**filters).manifest["label_invalid"]
    assert (said["refused"], said["corrections"]) == expected


@ungated
def test_without_a_refused_label_there_is_nothing_to_mind(world: World) -> None:
    """The count is there, the caveat is not."""
    world.labelled(range(10))
    said = world.release().manifest
    assert (said["label_invalid"]["refused"], said["gate"]["caveats"]) == (0, [])


def test_without_corrections_there_is_no_share() -> None:
    """A model that is only confirmed has none to refuse."""
    assert RefusedLabels(0, 0).document()["share"] is None


@ungated
def test_other_filters_under_the_same_name_are_told(world: World) -> None:
    """Versions of a name are compared with each other: whoever changes what goes in says so."""
    world.labelled(range(10), segment="web")
    world.labelled(range(10, 20), segment="app")
    world.release(segment="web", name="one")
    (caveat,) = world.release(segment="app", name="one").manifest["gate"]["caveats"]
    assert caveat == "The filters are not those of reader.one@1: segment is `app`, was `web`."
