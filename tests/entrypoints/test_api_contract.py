"""The API against its own document: random requests, alone and in chains, and no answer that the document lacks.

schemathesis reads `/openapi.json`, makes requests that fit it and requests that do not, follows its links, and compares
status, media type and shape of every answer. A real site process answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import Case, GenerationMode
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from tests.checkout.buying import ADDRESS
from tests.checkout.conftest import put_on_sale
from tests.sizes import sized
from tidegate.platform.database import open_database
from tidegate.platform.edge.server import listen
from tidegate.platform.settings import Settings

CHAINED = ["sessions", "checkout", "orders", "payments", "catalog"]
SKUS = ("LAMP", "VASE", "DROP", "NONE")
TOKENS = ("tok_ok", "tok_declined", "hosted", "tok_confirm", "tok_webhook_never")
SERVE = (
    "from tidegate.platform.settings import load_settings\n"
    "from tidegate.entrypoints.site import serve\n"
    "serve(load_settings())"
)
HARDLY_EVER_FIT = ("drop", "code", "currency", "shipping_method")
"""Parts that may be any text by the document, of which a shop knows a few."""
CHAIN_ROUNDS = 24
REACHED = {
    "post_hold": {201, 409},
    "post_purchase": {201, 409},
    "post_order": {201},
    "get_order": {200},
    "get_hold": {200},
    "delete_hold": {204},
}
"""Answers that a chain of requests comes to."""
APART = {"accounts", "followers"}
"""Tags of what is asked apart from buying."""
BOUNDED = hypothesis.settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)


@dataclass(slots=True)
class Api:
    """A running site, its document, and what it answered."""

    url: str
    document: dict[str, Any]
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    turns: dict[tuple[str, int], int] = field(default_factory=dict)

    def guest(self) -> dict[str, str]:
        """Headers of a new guest."""
        with httpx.Client(verify=False, timeout=10) as client:
            response = client.post(f"{self.url}/api/v1/guests")
        return {"Authorization": f"Bearer {response.json()['token']}"}

    def schema(self) -> Any:
        """The document as schemathesis reads it, without `default`, which would allow any answer."""
        strict = json.loads(json.dumps(self.document))
        for path in strict["paths"].values():
            for operation in path.values():
                del operation["responses"]["default"]
        # A SKU that fits the schema need not be sold, and a hold that fits it need not be there.
        checks = ChecksConfig(positive_data_acceptance=PositiveDataAcceptanceConfig(enabled=False))
        project = ProjectConfig(base_url=self.url, checks=checks, generation=GenerationConfig(deterministic=True))
        config = SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))
        return schemathesis.openapi.from_dict(strict, config=config)

    def take_turn(self, case: Case[Any]) -> int:
        """Which turn it is for what was drawn: by count, so that a few requests meet everything that is on sale.

        The same body has the same turn when it comes again: whoever looks into a failure sends the same.
        """
        name = case.operation.definition.raw["operationId"]
        assert isinstance(case.body, dict)
        drawn = {part: value for part, value in case.body.items() if part != "hold_id"}  # ids differ from run to run
        digest = zlib.crc32(json.dumps(drawn, sort_keys=True).encode())
        return self.turns.setdefault((name, digest), sum(known[0] == name for known in self.turns))

    def note(self, case: Case[Any], status: int) -> None:
        """Count an answer."""
        self.answered[(case.operation.definition.raw["operationId"], status)] += 1

    def seen(self, operation: str) -> set[int]:
        """With which statuses an operation has answered."""
        return {status for name, status in self.answered if name == operation}


async def stock_up(settings: Settings) -> None:
    """Put goods on sale."""
    async with open_database(settings) as database:
        for sku in SKUS:
            drop_in_s = -1 if sku == "DROP" else None
            await put_on_sale(database, sku, stock=0 if sku == "NONE" else 100_000, drop_in_s=drop_in_s)


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    """A demo site as a process of its own, with goods."""
    asyncio.run(stock_up(settings))
    with listen("127.0.0.1", 0) as sock:
        sock.listen()
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        environment = os.environ | {
            "TIDEGATE_LISTEN_FD": str(sock.fileno()), "TIDEGATE_DEMO": "true", "TIDEGATE_HTTP__BASE_URL": url,
            "TIDEGATE_LIVE__MAX_S": "0.01",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=environment, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL
        )
        try:
            with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as response:  # waits in the queue
                document = json.load(response)
            yield Api(url, document)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


def make_plausible(api: Api, case: Case[Any]) -> None:
    """Let most bodies that fit the schema name goods, people and cards that are there, each in its turn."""
    body: Any = case.body
    if case.meta is None or not case.meta.generation.mode.is_positive or not isinstance(body, dict):
        return
    turn = api.take_turn(case)
    if turn % 8 == 7:
        return
    if "lines" in body:
        known = [line for line in body["lines"][:3] if line.get("sku") in SKUS]
        body["lines"] = known or [{"sku": SKUS[turn % len(SKUS)], "quantity": 1 + turn % 3}]
        for name in ("drop",) if turn % 5 == 4 else HARDLY_EVER_FIT:
            body.pop(name, None)
    if "payment" in body:
        body["payment"] = {"provider": "sandbox", "token": TOKENS[turn % len(TOKENS)]}
        body["email"] = "ada@example.com"
        body["shipping_address"] = ADDRESS


@pytest.mark.timeout(300)
def test_chains_of_requests_meet_the_document(api: Api) -> None:
    # What has no links to buying would only thin the chains out. Single requests try it.
    machine: Any = api.schema().include(tag=CHAINED).as_state_machine()

    class Buyer(machine):  # type: ignore[misc]
        """A guest who follows links."""

        def setup(self) -> None:
            self.who = api.guest()

        def before_call(self, case: Case[Any]) -> None:
            make_plausible(api, case)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {"headers": self.who, "timeout": 10}

        def after_call(self, response: Any, case: Case[Any]) -> None:
            api.note(case, response.status_code)
            if case.operation.path == "/api/v1/guests" and response.status_code == 201:
                self.who = {"Authorization": f"Bearer {response.json()['token']}"}
            elif case.operation.path == "/api/v1/sessions" and response.status_code == 204:
                self.who = api.guest()

    # What a chain meets depends on ids and on time, which differ from run to run: other chains until all was seen.
    for again in range(CHAIN_ROUNDS):
        chosen = hypothesis.settings(
            BOUNDED, derandomize=not again, max_examples=sized(full=20, brief=8), stateful_step_count=12
        )
        Buyer.run(settings=chosen)
        if all(statuses <= api.seen(name) for name, statuses in REACHED.items()):
            break
    # That it came so far is what makes it worth something.
    for name, statuses in REACHED.items():
        assert statuses <= api.seen(name), name


@pytest.mark.timeout(300)
def test_single_requests_meet_the_document(api: Api) -> None:
    for found in api.schema().get_all_operations():
        operation = found.ok()
        check_operation(api, operation, GenerationMode.POSITIVE)
        if sized(full=True, brief=can_be_wrong(operation.definition.raw)):
            with suppress(hypothesis.errors.Unsatisfiable):  # any text is a slug: nothing that does not fit
                check_operation(api, operation, GenerationMode.NEGATIVE)
    names = {operation["operationId"] for path in api.document["paths"].values() for operation in path.values()}
    assert {name for name, _ in api.answered} == names


def can_be_wrong(operation: dict[str, Any]) -> bool:
    """Whether much that can be sent does not fit the document; that nothing does takes seconds to find out."""
    shapes = [parameter["schema"] for parameter in operation.get("parameters", ())]
    return "requestBody" in operation or any(shape.keys() - {"type", "title"} for shape in shapes)


def check_operation(api: Api, operation: Any, mode: GenerationMode) -> None:
    """Send one operation requests that fit the document, or that do not."""
    cases = operation.as_strategy(generation_mode=mode)
    small = not APART.isdisjoint(operation.definition.raw["tags"])

    @hypothesis.settings(BOUNDED, max_examples=2 if small else sized(full=8, brief=3))
    @hypothesis.given(case=cases)
    def ask(case: Case[Any]) -> None:
        make_plausible(api, case)
        who = api.guest() if operation.path == "/api/v1/sessions" else buyer
        response = case.call(headers=who, timeout=10)
        api.note(case, response.status_code)
        case.validate_response(response, transport_kwargs={"headers": who, "timeout": 10})

    buyer = api.guest()
    ask()
