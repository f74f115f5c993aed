"""A worker's places in front of the broker."""

from __future__ import annotations

import pytest
from kombu.transport.redis import QoS as KombusQoS
from pydantic import SecretStr
from redis.exceptions import ConnectionError as Gone

from tidegate.platform.jobs import WITHIN_1M, Call, make_app, publish
from tidegate.platform.lane_transport import Channel, Transport
from tidegate.platform.settings import Settings


@pytest.mark.parametrize(("scheme", "is_secret"), [("redis", False), ("rediss", True)])
def test_a_broker_is_spoken_to_as_its_address_says(settings: Settings, scheme: str, is_secret: bool) -> None:
    told = settings.model_copy(update={"broker_url": SecretStr(f"{scheme}://:word@127.0.0.1:1/0")})
    connection = make_app(told).connection_for_read()
    assert isinstance(connection.transport, Transport)
    assert bool(connection.ssl) is is_secret


def test_a_task_that_cannot_be_acknowledged_leaves_its_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(settings)
    publish([Call("notify.tell", (), WITHIN_1M)] * 2)
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        channel.basic_qos(0, 1, False)
        first = channel.basic_get(WITHIN_1M)
        assert first is not None
        assert not channel.qos.can_consume(), "one place, and it is taken"

        def away(self: KombusQoS, *_: object) -> None:
            raise Gone

        with monkeypatch.context() as broker:
            broker.setattr(KombusQoS, "_remove_from_indices", away)
            with pytest.raises(Gone):
                first.ack()
        assert channel.qos.can_consume()
        assert channel.basic_get(WITHIN_1M) is not None
