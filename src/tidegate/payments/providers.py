"""The providers of this shop, and calls to them: bounded in time, counted, never inside a transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

import psycopg
import structlog
from prometheus_client import Counter, Gauge, Histogram

from tidegate.payments.contracts import (
    Answer,
    Charge,
    ChargeIntent,
    ChargeState,
    OutcomeUnknown,
    Provider,
    ProviderRefused,
    UnknownProvider,
    UnknownToken,
)
from tidegate.payments.rules import may_be_method
from tidegate.payments.sandbox import SandboxProvider
from tidegate.platform.breaker import Breaker, BreakerState
from tidegate.platform.database import Database
from tidegate.platform.overload.doors import outside
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

log = structlog.get_logger()

HELD_BACK = Gauge(
    "tidegate_payments_provider_held_back",
    "Whether calls to a provider are held back since it does not answer: 0 no, 1 all but one that tries, 2 all.",
    ("provider",),
)
STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}

CALLS = Counter(
    "tidegate_payments_provider_calls", "Calls to payment providers by outcome.", ("provider", "call", "outcome")
)
SECONDS = Histogram(
    "tidegate_payments_provider_seconds",
    "Time that payment providers took to answer.",
    ("provider", "call"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)

NO_ANSWER = (TimeoutError, OSError, psycopg.Error, Overloaded)
"""What leaves open whether a call took effect (the sandbox keeps its ledger in PostgreSQL)."""

NOTHING_DUE = Answer(ChargeState.CAPTURED, "")
"""What there is to say of an attempt to pay nothing: it is paid. No provider is asked for that."""

Said = TypeVar("Said")


class Providers(Mapping[str, Provider]):
    """Providers by name."""

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        timeout_s: float,
        breaker_failures: int = 20,
        breaker_pause_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` bounds each call; after `breaker_failures` in a row without an answer see `Breaker`."""
        self._by_name = {provider.name: provider for provider in providers}
        self._timeout_s = timeout_s
        self._breakers = {
            name: Breaker(failures=breaker_failures, pause_s=breaker_pause_s, clock=clock) for name in self._by_name
        }

    def __getitem__(self, name: str) -> Provider:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def pick(self, name: str) -> Provider:
        """The provider called `name`. Raises: UnknownProvider."""
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownProvider(_("This shop does not take payments that way. Choose another way to pay.")) from None

    async def call(
        self, name: str, call: str, run: Callable[[Provider], Awaitable[Said]], *, outcome: Callable[[Said], str]
    ) -> Said:
        """Run one call of provider `name` within the time bound and count it as `call`.

        Raises: OutcomeUnknown when it did not answer in time, or was not asked since it has not answered for a while;
        ProviderRefused; UnknownProvider.
        """
        provider = self.pick(name)
        if not self._breakers[name].admits():
            _calls(name, call, "held_back").inc()
            raise OutcomeUnknown(f"{name} has not answered for a while and was not asked for {call}")
        if self._breakers[name].state is BreakerState.HALF_OPEN:
            HELD_BACK.labels(name).set(STATES[BreakerState.HALF_OPEN])
        started = time.perf_counter()
        try:
            with outside():
                async with asyncio.timeout(self._timeout_s):
                    said = await run(provider)
        except NO_ANSWER as error:
            CALLS.labels(name, call, "no_answer").inc()
            self._note(name, answered=False)
            raise OutcomeUnknown(f"{name} did not answer {call}: {type(error).__name__}") from error
        except OutcomeUnknown:
            CALLS.labels(name, call, "no_answer").inc()
            self._note(name, answered=False)
            raise
        except ProviderRefused:
            CALLS.labels(name, call, "refused").inc()
            self._note(name, answered=True)
            raise
        finally:
            _seconds(name, call).observe(time.perf_counter() - started)
        _calls(name, call, outcome(said)).inc()
        self._note(name, answered=True)
        return said

    def _note(self, name: str, *, answered: bool) -> None:
        breaker = self._breakers[name]
        before = breaker.state
        if answered:
            breaker.succeeded()
        else:
            breaker.failed()
        if breaker.state is not before:
            log.warning("provider_held_back" if breaker.state is BreakerState.OPEN else "provider_answers", name=name)
            HELD_BACK.labels(name).set(STATES[breaker.state])

    async def close(self) -> None:
        """Let go of the providers' connections."""
        for provider in self._by_name.values():
            await provider.close()


@lru_cache(maxsize=256)
def _seconds(name: str, call: str) -> Histogram:
    return SECONDS.labels(name, call)


@lru_cache(maxsize=256)
def _calls(name: str, call: str, outcome: str) -> Counter:
    return CALLS.labels(name, call, outcome)


def make_providers(database: Database, settings: Settings, *, extra: Iterable[Provider] = ()) -> Providers:
    """The providers that `settings` name, the preferred one first; close them in the end.

    `extra` ones are those that a composition root brings.
    The sandbox gives goods away for no money: demo mode only.
    """
    providers: list[Provider] = []
    if settings.payments.stripe_secret_key.get_secret_value():
        from tidegate.payments.stripe import StripeProvider  # half a second that a shop without Stripe need not spend

        providers.append(StripeProvider(settings))
    if settings.demo:
        providers.append(_sandbox(database, settings))
    limits = settings.payments
    return Providers(
        [*providers, *extra],
        timeout_s=limits.provider_timeout_s,
        breaker_failures=limits.breaker_failures,
        breaker_pause_s=limits.breaker_pause_s,
    )


def _sandbox(database: Database, settings: Settings) -> Provider:
    """The sandbox: in this process, or wherever the settings say that it answers."""
    if not settings.payments.sandbox_url:
        return SandboxProvider(database, settings)
    from tidegate.payments.sandbox_gateway import SandboxGateway  # a rehearsal's alone

    return SandboxGateway(database, settings)


def check_method(providers: Providers, *, provider: str, method: str) -> None:
    """Refuse what could not be charged, or must not be kept, before anything is recorded.

    Raises: UnknownProvider; UnknownToken, which never repeats the text: it could be a card's number.
    """
    gateway = providers.pick(provider)
    if not may_be_method(method):
        raise UnknownToken(_("That is not a payment token. Card numbers are never sent to this shop."))
    gateway.check_method(method)


async def call_provider(providers: Providers, intent: ChargeIntent) -> Answer:
    """Ask for the money, after the intent's transaction was committed. Raises: OutcomeUnknown, ProviderRefused."""
    if intent.total.amount == 0:
        return NOTHING_DUE
    return await providers.call(intent.provider, "charge", lambda it: it.charge(intent), outcome=_state)


async def ask_provider(providers: Providers, charge: Charge) -> Answer:
    """Ask how a charge stands; one that never arrived is charged now. Raises: OutcomeUnknown, ProviderRefused."""
    if charge.total.amount == 0:
        return NOTHING_DUE
    return await providers.call(charge.provider, "ask", lambda it: it.ask(charge), outcome=_state)


async def end_attempt(providers: Providers, charge: Charge) -> Answer:
    """Close an attempt at the provider, so that its stock may be let go.

    Answers CAPTURED where it turned out to be paid. Raises: OutcomeUnknown (nothing may be let go), ProviderRefused.
    """
    if charge.total.amount == 0:
        return NOTHING_DUE
    return await providers.call(charge.provider, "end", lambda it: it.end(charge), outcome=_state)


def _state(answer: Answer) -> str:
    return answer.state.value
