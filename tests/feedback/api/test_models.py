"""What one can read back of models: versions, which one serves, how they did, and what they learned from."""

from __future__ import annotations

from typing import Any

from tests.feedback.conftest import Loop, declared, made
from tests.streams.asking import event


def deployed(version: str, hour: int, kind: str = "model.deployed", **data: Any) -> dict[str, Any]:
    """A deployment of model m at an hour of a day."""
    data = {"model": "m", "model_version": version, **data}
    return event(kind, f"{kind}-{version}-{hour}", time=f"2026-11-20T{hour:02}:00:00Z", **data)


def evaluated(version: str, hour: int, **data: Any) -> dict[str, Any]:
    """An evaluation of model m, with one metric."""
    metrics = [{"name": "accuracy", "value": 0.9, "n": 100, "low": 0.83, "high": 0.94}]
    return deployed(version, hour, "evaluation.recorded", metrics=metrics, **data)


METRICS = [{"name": "accuracy", "value": 0.9}]


def versions(found: Any) -> dict[str, Any]:
    """The versions of a model, by name."""
    return {each["model_version"]: each for each in found["versions"]}


def test_a_model_shows_what_was_said_of_its_versions(loop: Loop) -> None:
    """Declared, deployed from and until, evaluated on what, learned from what, and how many predictions."""
    loop.send(
        declared("1", labels=["a", "b"]),
        deployed("1", 1, datasets=["m@1"]),
        evaluated("2", 2, dataset="m@2", split="test"),
        deployed("2", 3, datasets=["m@2", "m@1"]),
        made("p-1"),
        made("p-2", model_version="2"),
        made("p-3", model_version="2"),
    )
    found = loop.get("/v1/models/m")
    assert (found["model"], found["serving"]) == ("m", "2")
    assert [each["model_version"] for each in found["versions"]] == ["2", "1"]
    assert versions(found)["1"] == {
        "model_version": "1",
        "declared": {
            "output_shape": {"labels": ["a", "b"]},
            "description": None,
            "from": None,
            "later_versions": False,
            "at": "2026-11-20T09:12:31.402Z",
        },
        "deployed": [
            {
                "since": "2026-11-20T01:00:00Z",
                "until": "2026-11-20T03:00:00Z",
                "by": "model.deployed",
                "why": None,
            }
        ],
        "serving": False,
        "evaluations": [],
        "datasets": ["m@1"],
        "predictions": 1,
    }
    second = versions(found)["2"]
    assert (second["declared"], second["serving"], second["predictions"]) == (None, True, 2)
    assert second["datasets"] == ["m@2", "m@1"]
    assert [span["until"] for span in second["deployed"]] == [None]
    (evaluation,) = second["evaluations"]
    assert evaluation["metrics"] == [{"name": "accuracy", "value": 0.9, "n": 100, "low": 0.83, "high": 0.94}]
    assert (evaluation["dataset"], evaluation["split"]) == ("m@2", "test")


def test_a_rollback_serves_again(loop: Loop) -> None:
    """The latest of deployments and rollbacks says which version serves, whatever order they came in."""
    loop.send(
        deployed("1", 6, "model.rolled_back", why="worse"),
        deployed("2", 5),
        deployed("1", 4),
    )
    found = loop.get("/v1/models/m")
    assert found["serving"] == "1"
    spans = [
        (each["since"][11:13], (each["until"] or "")[11:13], each["why"])
        for each in versions(found)["1"]["deployed"]
    ]
    assert spans == [("04", "05", None), ("06", "", "worse")]
    assert [version for version, each in versions(found).items() if each["serving"]] == ["1"]


def test_a_version_deployed_again_goes_on_serving(loop: Loop) -> None:
    """A second deployment of what serves already begins no other span; its datasets are told."""
    loop.send(deployed("1", 4, datasets=["m@1"]), deployed("1", 5, datasets=["m@2"]))
    (version,) = loop.get("/v1/models/m")["versions"]
    assert len(version["deployed"]) == 1
    assert version["datasets"] == ["m@2", "m@1"]


def test_of_one_instant_the_greater_id_serves(loop: Loop) -> None:
    """As everywhere, the latest is the greatest instant, then the greatest id."""
    loop.send(deployed("2", 4), deployed("1", 4))
    assert loop.get("/v1/models/m")["serving"] == "2"


def test_only_production_serves_unless_asked(loop: Loop) -> None:
    """What is deployed and evaluated elsewhere is there when its environment is asked for."""
    loop.send(
        declared(),
        deployed("1", 1),
        deployed("2", 2, env="test"),
        evaluated("2", 3, env="test"),
        made("p", env="test"),
    )
    found = loop.get("/v1/models/m")
    assert found["serving"] == "1"
    assert versions(found)["2"]["evaluations"] == versions(found)["2"]["deployed"] == []
    assert versions(found)["1"]["predictions"] == 0
    tried = loop.get("/v1/models/m", env="test")
    assert tried["serving"] == "2"
    assert len(versions(tried)["2"]["evaluations"]) == 1
    assert versions(tried)["1"]["predictions"] == 1
    assert versions(tried)["1"]["declared"] is not None


def test_a_model_that_only_answered_is_known(loop: Loop) -> None:
    """From its predictions; nobody has to say anything of it first."""
    loop.send(made("p", model="quiet", model_version="7"))
    found = loop.get("/v1/models/quiet")
    assert found["serving"] is None
    assert [(each["model_version"], each["predictions"]) for each in found["versions"]] == [("7", 1)]


def test_models_are_listed_by_name_in_pages(loop: Loop) -> None:
    """Each as it is alone; those that were declared, and those that only answered."""
    names = [f"m-{number}" for number in range(7)]
    for number, name in enumerate(names):
        if number % 2:
            loop.send(made(f"p-{number}", model=name))
        else:
            loop.send(deployed("1", 1, model=name))
    found = loop.pages("/v1/models", limit=3)
    assert [each["model"] for each in found] == names
    assert found == [loop.get(f"/v1/models/{name}") for name in names]


def test_an_unknown_model_is_404(loop: Loop) -> None:
    """And the list is empty, before anything came."""
    assert loop.get("/v1/models/m", 404)["code"] == "not_found"
    assert loop.get("/v1/models") == {"items": [], "next": None}


def test_of_a_version_the_latest_are_shown(loop: Loop) -> None:
    """Twenty evaluations, spans and datasets, and that there are more; five of each in a list."""
    events = []
    for number in range(50):
        name = f"{'ab'[number % 2]}"
        time = f"2026-11-20T01:{number:02}:00Z"
        events.append({**deployed(name, 1, datasets=[f"m@{number + 1}"]), "id": f"d-{number}", "time": time})
        events.append({**evaluated("a", 1), "id": f"e-{number:02}", "time": time})
    loop.send(*events)
    for found, most in ((loop.get("/v1/models/m"), 20), (loop.get("/v1/models")["items"][0], 5)):
        first = versions(found)["a"]
        assert [each["id"] for each in first["evaluations"]] == [
            f"e-{n:02}" for n in range(49, 49 - most, -1)
        ]
        assert first["deployed"][-1]["since"] == "2026-11-20T01:48:00Z"
        assert len(first["deployed"]) == len(first["datasets"]) == most
        assert first["datasets"][0] == "m@49"
        assert all(first[f"{name}_more"] for name in ("evaluations", "deployed", "datasets"))
        assert "evaluations_more" not in versions(found)["b"]


def test_versions_are_listed_in_pages(loop: Loop) -> None:
    """The latest first; a list of models has the latest ten, and the one that serves however old it is."""
    loop.send(*(deployed(f"v-{n}", 1, "evaluation.recorded", metrics=METRICS) for n in range(35)))
    loop.send(deployed("v-0", 2), made("p", model_version="v-9"))
    names: list[str] = []
    found = loop.get("/v1/models/m", limit=10)
    while True:
        names += [each["model_version"] for each in found["versions"]]
        assert (found["versions_total"], found["predictions"], found["serving"]) == (35, 1, "v-0")
        if "versions_next" not in found:
            break
        found = loop.get("/v1/models/m", limit=10, next=found["versions_next"])
    assert len(names) == len(set(names)) == 35
    (item,) = loop.get("/v1/models")["items"]
    assert [each["model_version"] for each in item["versions"]] == [*names[:10], "v-0"]
    assert item["versions_total"] == 35
