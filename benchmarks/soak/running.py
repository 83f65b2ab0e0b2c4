"""The plan of a soak: cycles of load, reading and rest, with releases and restarts in between, and the count.

A cycle is ten seconds, or less in a short run: four tenths of it events come in, then everything is read at
once, and then nothing happens but somebody who looks at `/readyz` and `/metrics`, as all the while. At its
end the values at rest are taken.

While events come in, the worker and the collector are killed, the views are built anew, and a dataset is
released: all of it once in the warm-up. After that there are rounds of six cycles: each fourth kills both
once more, so that a life of three minutes is looked at in between; each has a release, and every other one
new views.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.soak import load, servers
from benchmarks.soak.judging import Verdict, failed, table, warm_up_s
from benchmarks.soak.sampling import Sampler

CYCLES_A_ROUND = 6
_CYCLE_S = 10.0
_LOADED, _BATCHES_A_SECOND = 0.4, 8.0
_CATCH_UP_S = 60.0
_ROUNDS_A_LIFE = 4
_LETTERS_AT_ONCE = 1000


class Outcome(NamedTuple):
    """What a soak gave: verdicts, what went wrong, and what was done."""

    verdicts: list[Verdict]
    wrong: list[str]
    did: str


class Plan(NamedTuple):
    """How long a run is, and its cycles."""

    run_s: float

    @property
    def cycle_s(self) -> float:
        """How long a cycle is: ten seconds, and twelve of them in a run at least."""
        return min(_CYCLE_S, self.run_s / (2 * CYCLES_A_ROUND))

    @property
    def warm_cycles(self) -> int:
        """How many of them are the warm-up."""
        return max(1, round(warm_up_s(self.run_s) / self.cycle_s))

    @property
    def cycles(self) -> int:
        """How many there are."""
        return max(self.warm_cycles + 1, round(self.run_s / self.cycle_s))

    def deeds(self, cycle: int) -> list[str]:
        """What is done at the beginning of a cycle, besides the load."""
        if cycle < self.warm_cycles:
            return [[], ["kill worker"], ["kill collector"], ["release"], ["replay"], []][cycle % 6]
        number, place = divmod(cycle - self.warm_cycles, CYCLES_A_ROUND)
        deeds = []
        if place == 0 and number and number % _ROUNDS_A_LIFE == 0:
            deeds += ["kill worker", "kill collector"]
        if place == 1:
            deeds.append("release")
        if place == 3 and number % 2:
            deeds.append("replay")
        return deeds


def soak(
    venue: servers.Servers, run_s: float, leak: str, tell: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Soak servers for so long.

    Args:
        leak: what a process beside them leaks, so that the soak must fail; "" for none.
        tell: is told how it goes.
    """
    plan = Plan(run_s)
    done: dict[str, int] = {}
    warm_s = 0.0
    with ExitStack() as closing:
        planted = _plant(leak, venue, closing)
        sampler = Sampler(lambda: {**venue.processes(), **planted}, venue.places, venue.cache)
        closing.callback(sampler.close)
        product, readers = load.Product(venue.address), load.Readers(venue.address)
        closing.callback(readers.close)
        product.hand_over(load.declaration())
        began = time.monotonic()
        for cycle in range(plan.cycles):
            due = began + (cycle + 1) * plan.cycle_s
            with ThreadPoolExecutor(1) as beside:
                sending = beside.submit(product.send, plan.cycle_s * _LOADED, _BATCHES_A_SECOND)
                for deed in plan.deeds(cycle):
                    _do(deed, venue)
                    done[deed] = done.get(deed, 0) + 1
                sending.result()
            readers.burst(product.position)
            # Whatever took longer: there is always some rest before the values are taken.
            time.sleep(max(plan.cycle_s * 0.3, due - time.monotonic() - 0.5))
            if cycle + 1 == plan.warm_cycles:
                # On a busy machine later than planned.
                warm_s = sampler.elapsed()
            sampler.rest()
            tell(f"cycle {cycle + 1} of {plan.cycles}: {product.accepted} events")
        readers.close()
        wrong = _counted(venue, product)
        verdicts = sampler.verdicts(warm_s)
    venue.end()
    deeds = ", ".join(f"{times} x {deed}" for deed, times in sorted(done.items()))
    did = f"{product.accepted} events, {readers.looks} looks, {product.tries_again} tries again; {deeds}"
    return Outcome(verdicts, failed(verdicts) + wrong, did)


def _do(deed: str, venue: servers.Servers) -> None:
    word, _, subject = deed.partition(" ")
    if word == "kill":
        venue.kill(subject)
    elif word == "release":
        venue.command("dataset", "release", load.MODEL, "--allow", "label_shift")
    else:
        venue.command("replay")


def _plant(leak: str, venue: servers.Servers, closing: ExitStack) -> dict[str, int]:
    """A process that leaks, to be looked at like the others."""
    if not leak:
        return {}
    planted = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.soak.leaking", leak],
        stdin=subprocess.PIPE,
        env=venue.variables(),
    )

    def end() -> None:
        assert planted.stdin is not None
        planted.stdin.close()
        planted.wait()

    closing.callback(end)
    return {"planted": planted.pid}


def _counted(venue: servers.Servers, product: load.Product) -> list[str]:
    """What is wrong with the count of the accepted events, and with the views; Failed when they are away."""
    wanted = dict(product.kinds)
    wanted.pop("model.declared", None)

    def kinds() -> dict[str, int]:
        status, content = load.request(venue.address(), "GET", "/v1/counts?by=kind")
        if status != 200:
            raise LookupError
        counted = {item["kind"]: item["events"] for item in json.loads(content)["items"]}
        return {kind: counted.get(kind, 0) for kind in wanted}

    wrong = []
    try:
        servers.until(lambda: kinds() == wanted, "the views to have every event once", _CATCH_UP_S)
    except servers.Failed as error:
        wrong.append(f"{error}: they have {kinds()}, accepted were {wanted}")
    said = venue.command("verify")
    if "identical" not in said:
        wrong.append(f"loopline verify: {said.strip()}")
    return wrong


def report(engine: str, outcome: Outcome, run_s: float) -> str:
    """A table, and a verdict in one line."""
    verdict = "nothing grew" if not outcome.wrong else "FAILED: " + "; ".join(outcome.wrong)
    minutes = f"{run_s / 60:g} minutes"
    return f"{table(outcome.verdicts)}\n\nsoak {engine}, {minutes}: {outcome.did}\nsoak {engine}: {verdict}"
