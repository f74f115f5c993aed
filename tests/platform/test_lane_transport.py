"""A worker's places in front of the broker."""

from __future__ import annotations

import pytest
from kombu.transport.redis import QoS as KombusQoS
from redis.exceptions import ConnectionError as Gone

from tidegate.platform.jobs import WITHIN_1M, Call, make_app, publish
from tidegate.platform.lane_transport import Channel
from tidegate.platform.settings import Settings


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
