"""Signing in: the same words and work for whoever does not know the password, and an end to guessing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tidegate import accounts
from tidegate.accounts import Role, SignedIn, WrongCredentials
from tidegate.accounts.passwords import Passwords
from tidegate.accounts.rules import plausible_credentials
from tidegate.platform.attempts import network_of
from tidegate.platform.database import Database
from tidegate.platform.problems import Overloaded, Problem, TooManyRequests
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ADMIN = "admin@tidegate.example"

Attempt = Callable[..., Coroutine[None, None, SignedIn]]


@pytest.fixture
async def password(database: Database) -> str:
    """The administrator's."""
    made = await accounts.ensure_admin(database)
    assert made is not None
    return made


@pytest.fixture
def attempt(database: Database, settings: Settings) -> Attempt:
    async def attempt(email: str, password: str, address: str = "192.0.2.1", **changes: object) -> SignedIn:
        limits = settings.accounts.model_copy(update=changes)
        changed = settings.model_copy(update={"accounts": limits})
        return await accounts.sign_in(database, changed, email=email, password=password, address=address)

    return attempt


async def problem(work: Coroutine[None, None, SignedIn]) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    return caught.value


async def test_the_administrator_is_made_once_and_signs_in(database: Database, attempt: Attempt) -> None:
    made = await asyncio.gather(*(accounts.ensure_admin(database) for _ in range(4)))
    (password,) = [one for one in made if one is not None]
    assert len(password) >= 20
    assert await accounts.ensure_admin(database) is None
    signed_in = await attempt("  Admin@TIDEGATE.example ", password)
    assert signed_in.person.role == Role.ADMIN
    async with database.connection() as conn:
        assert await accounts.find_person(conn, token=signed_in.token) == signed_in.person
        stored = await (await conn.execute("SELECT p::text, email_sealed FROM accounts.people p")).fetchall()
    assert password not in stored[0][0]
    assert ADMIN not in stored[0][0]
    assert ADMIN.encode() not in bytes(stored[0][1])


async def test_each_sign_in_is_a_session_of_its_own(password: str, attempt: Attempt) -> None:
    assert (await attempt(ADMIN, password)).token != (await attempt(ADMIN, password)).token


@pytest.mark.parametrize(
    ("email", "wrong"),
    [
        (ADMIN, "wrong"),
        ("nobody@tidegate.example", "wrong"),
        ("", "x"),
        (ADMIN, ""),
        (ADMIN + "\0", "x"),
        (ADMIN, "x" * 257),
        ("a" * 255 + "@x.example", "x"),
        ("\ud800@x.example", "x"),
        (ADMIN, "\ud800"),
    ],
)
async def test_whoever_is_wrong_is_told_the_same(email: str, wrong: str, password: str, attempt: Attempt) -> None:
    assert password
    refused = await problem(attempt(email, wrong))
    reference = await problem(attempt("somebody@else.example", "something"))
    assert isinstance(refused, WrongCredentials)
    assert refused.document() == reference.document()


async def test_an_unknown_address_costs_the_work_of_a_known_one() -> None:
    passwords = Passwords(workers=1, queue=1)
    known = await passwords.hash("right")

    async def cost_s(password_hash: str | None) -> float:
        begun = time.process_time()
        assert not await passwords.verify(password_hash, "wrong")
        return time.process_time() - begun

    await cost_s(None)
    pairs = [(await cost_s(known), await cost_s(None)) for _ in range(5)]
    ratio = statistics.median(b for _, b in pairs) / statistics.median(a for a, _ in pairs)
    assert 0.5 < ratio < 2


async def test_passwords_are_argon2id_with_the_parameters_we_state() -> None:
    assert (await Passwords(workers=1, queue=1).hash("x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_more_sign_ins_than_may_wait_are_told_to_come_back() -> None:
    passwords = Passwords(workers=1, queue=2)
    results = await asyncio.gather(*(passwords.hash("x") for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 3
    assert sum(isinstance(result, Overloaded) for result in results) == 5
    assert await passwords.hash("x")


async def test_a_caller_who_leaves_does_not_lose_the_place_for_others() -> None:
    passwords = Passwords(workers=1, queue=1)
    for _ in range(3):
        callers = [asyncio.create_task(passwords.hash("x")) for _ in range(2)]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await passwords.hash("x")
                    break
                except Overloaded:
                    await asyncio.sleep(0.01)


async def test_guessing_one_account_ends_from_all_networks(password: str, attempt: Attempt) -> None:
    for n in range(3):
        await problem(attempt(ADMIN, "guess", f"192.0.2.{n}", login_attempts=3))
    stopped = await problem(attempt(ADMIN, password, "192.0.2.99", login_attempts=3))
    assert isinstance(stopped, TooManyRequests)
    assert stopped.retry_after_s is not None
    assert 0 < stopped.retry_after_s <= 300
    assert isinstance(
        await problem(attempt("other@x.example", "guess", "192.0.2.99", login_attempts=3)), WrongCredentials
    )


async def test_trying_many_accounts_from_one_network_ends_as_well(password: str, attempt: Attempt) -> None:
    for n in range(3):
        await problem(attempt(f"user{n}@x.example", "guess", f"2001:db8::{n}", login_attempts_per_network=3))
    stopped = await problem(attempt(ADMIN, password, "2001:db8::77", login_attempts_per_network=3))
    assert isinstance(stopped, TooManyRequests)
    assert await attempt(ADMIN, password, "2001:db8:0:1::1", login_attempts_per_network=3)


async def test_guesses_sent_at_once_do_not_slip_past_together(attempt: Attempt) -> None:
    results = await asyncio.gather(
        *(attempt(ADMIN, "guess", login_attempts=3, hash_queue=100) for _ in range(12)), return_exceptions=True
    )
    assert sum(isinstance(result, WrongCredentials) for result in results) == 3
    assert sum(isinstance(result, TooManyRequests) for result in results) == 9


async def test_success_is_not_counted(password: str, attempt: Attempt) -> None:
    for _ in range(5):
        assert await attempt(ADMIN, password, login_attempts=2)


async def test_without_valkey_people_still_sign_in(database: Database, settings: Settings, password: str) -> None:
    away = settings.model_copy(update={"valkey_url": SecretStr("redis://127.0.0.1:1/0")})
    assert await accounts.sign_in(database, away, email=ADMIN, password=password, address="192.0.2.1")


@given(st.text(), st.text())
def test_plausible_credentials_can_be_stored_and_hashed(email: str, password: str) -> None:
    if plausible_credentials(email, password):
        assert "\0" not in email
        assert email.encode()
        assert password.encode()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix socket", "unix socket"),
    ],
)
def test_attempts_are_counted_by_what_one_customer_has(address: str, network: str) -> None:
    assert network_of(address) == network
