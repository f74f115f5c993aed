"""kombu's Redis transport, but for a worker whose broker went away while all of its processes were busy."""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES, redis, virtual


class QoS(redis.QoS):
    """What a worker has taken and not acknowledged yet; it takes no more than it has processes."""

    def ack(self, delivery_tag: str) -> None:
        """A task that has ended leaves its place, also when the broker cannot be told so.

        Otherwise a worker all of whose tasks end while the broker is away has no place left, asks for no task, does
        not notice that its connection is gone, and waits for ever.
        """
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """With places of its own kind."""

    QoS = QoS


class Transport(redis.Transport):
    """What `redis://` and `rediss://` stand for here."""

    Channel = Channel


def use_own_transport() -> None:
    """Have brokers at `redis://` and `rediss://` spoken to by this transport.

    By the names, since kombu turns TLS on for a transport that is called `rediss`, and for no other.
    """
    for name in ("redis", "rediss"):
        TRANSPORT_ALIASES[name] = f"{__name__}:{Transport.__name__}"
