"""Which requests were slowest, when, and what they spent their time on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.rehearse.contracts import Second, Step, Told
from tidegate.rehearse.measures import Batches, HeldUp, Inside

LEAST_SHARE = 0.01
"""Seconds in which fewer of a step's requests were answered say nothing about it."""

OWN, TAKEN, OUTSIDE, QUEUE, BATCH, GATEWAY, REST = (
    "the crowd itself",
    "until a connection was free",
    "until the shop read it",
    "queue of the batch",
    "the batch in the database",
    "the payment provider",
    "the rest in the process",
)


@dataclass(frozen=True, slots=True)
class Way:
    """How one kind of request goes through the shop: its routes, and the batches that it waits for."""

    routes: tuple[str, ...]
    batches: tuple[str, ...] = ()
    pays: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """Seconds in which a step was answered: means of it, and what was looked at inside."""

    since: float
    mean_ms: float
    own_ms: float
    inside: Inside | None
    part: Sequence[Second]


DROP = "/api/v1/drops/{slug}"
WAYS: Mapping[str, Way] = {
    Step.PAGE: Way(("GET /drops/{slug}", "GET /", "GET /search", "GET /collections/{slug}", "GET /products/{slug}")),
    Step.STATUS: Way((f"GET {DROP}/status",)),
    Step.JOIN: Way((f"POST {DROP}/places",), ("joins",)),
    Step.PLACE: Way((f"GET {DROP}/places/{{place_id}}",), ("places",)),
    Step.PURCHASE: Way(("POST /api/v1/purchases",), ("purchases",), pays=True),
    Step.HOLD: Way(("POST /api/v1/holds",), ("holds",)),
    Step.PAY: Way(("POST /api/v1/orders",), ("orders",), pays=True),
    Step.ORDER: Way(("GET /api/v1/orders/{order_id}",)),
    Step.LEAVE: Way((f"DELETE {DROP}/places/{{place_id}}",)),
    Step.SIGN_IN: Way(("POST /api/v1/sessions", "POST /api/v1/login-links/use")),
}


def held_up(told: Told, inside: Sequence[Inside]) -> tuple[HeldUp, ...]:
    """Each step with what held it up in its slowest seconds, the slowest step first."""
    found = [
        _of_step(step, latency.p99_ms, latency.count, told.timeline, inside) for step, latency in told.latencies.items()
    ]
    return tuple(sorted((each for each in found if each is not None), key=lambda each: -each.p99_ms))


def _of_step(
    step: str, p99_ms: float, count: int, timeline: Sequence[Second], inside: Sequence[Inside]
) -> HeldUp | None:
    spans: list[tuple[float, float, Inside | None]] = [(each.since, each.at, each) for each in inside]
    if not spans:
        spans = [(second.at - 1.0, second.at, None) for second in timeline]
    found = []
    for since, at, looked in spans:
        part = [second for second in timeline if since < second.at <= at + 0.05 and step in second.steps]
        answered = sum(second.steps[step].count for second in part)
        if not answered or answered < LEAST_SHARE * count:
            continue
        mean_ms = sum(second.steps[step].count * second.steps[step].mean_ms for second in part) / answered
        own_ms = sum(second.steps[step].count * second.steps[step].own_ms for second in part) / answered
        found.append(_Span(since, mean_ms, own_ms, looked, part))
    if not found:
        return None
    span, way = max(found, key=lambda each: each.mean_ms), WAYS.get(step, Way(()))
    parts = _parts(way, span)
    return HeldUp(step, round(span.since, 1), p99_ms, round(span.mean_ms, 1), parts, _says(parts, way, span))


def _parts(way: Way, span: _Span) -> dict[str, float]:
    """Milliseconds of the mean by where they passed. Without a look inside only the crowd's own are told apart."""
    own_ms, inside = min(span.own_ms, span.mean_ms), span.inside
    late_ms = min(sum(second.late_ms for second in span.part) / len(span.part), own_ms)
    parts = {OWN: late_ms, TAKEN: own_ms - late_ms}
    there_ms = span.mean_ms - own_ms
    passed = [] if inside is None else [each for name, each in inside.routes.items() if name in way.routes]
    count = sum(each.count for each in passed)
    if inside is None or not count:
        return _rounded(parts | {REST: there_ms})
    shop_ms = min(1e3 * sum(each.seconds for each in passed) / count, there_ms)
    parts[OUTSIDE] = there_ms - shop_ms
    left_ms = shop_ms
    for name, ms in (
        (QUEUE, _queue_ms(way, inside)),
        (BATCH, _batch_ms(way, inside)),
        (GATEWAY, 1e3 * inside.gateway.seconds / inside.gateway.count if way.pays and inside.gateway.count else 0.0),
    ):
        parts[name] = min(ms, left_ms)
        left_ms -= parts[name]
    return _rounded(parts | {REST: left_ms})


def _batches(way: Way, inside: Inside) -> list[Batches]:
    return [inside.batches[name] for name in way.batches if name in inside.batches and inside.batches[name].count]


def _queue_ms(way: Way, inside: Inside) -> float:
    """What the first of a batch waits; the others less, half of it on average, but a whole batch can be ahead."""
    return sum(1e3 * each.wait_s / each.count for each in _batches(way, inside))


def _batch_ms(way: Way, inside: Inside) -> float:
    return sum(1e3 * each.run_s / each.count for each in _batches(way, inside))


def _rounded(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: round(ms, 1) for name, ms in parts.items() if ms >= 0.05}


def _says(parts: Mapping[str, float], way: Way, span: _Span) -> str:
    cpu: dict[str, float] = {}
    for second in span.part:
        for kind, cores in second.cpu.items():
            cpu[kind] = cpu.get(kind, 0.0) + cores / len(span.part)
    busiest = ", ".join(f"{kind} {cpu[kind]:.2f}" for kind in sorted(cpu, key=lambda kind: -cpu[kind])[:3])
    used = f" Cores in use then: {busiest}." if busiest else ""
    if not parts:
        return f"Nothing: it took {span.mean_ms:,.1f} ms at its slowest.{used}"
    top = max(parts, key=lambda name: parts[name])
    words = {
        OWN: "the crowd was late itself",
        TAKEN: "more wanted something than the shop answered: all the crowd's connections waited for answers",
        OUTSIDE: "the shop's processes were too busy to read it",
        QUEUE: f"it queued for a batch of {_size(way, span.inside)}",
        BATCH: f"its batch of {_size(way, span.inside)} was at work in the database",
        GATEWAY: "the payment provider had to answer",
        REST: "the shop's process was at work",
    }[top]
    return f"{parts[top]:,.0f} of {span.mean_ms:,.0f} ms, since {words}.{used}"


def _size(way: Way, inside: Inside | None) -> str:
    found = [] if inside is None else _batches(way, inside)
    count = sum(each.count for each in found)
    return f"about {sum(each.requests for each in found) / count:,.0f} requests" if count else "requests"
