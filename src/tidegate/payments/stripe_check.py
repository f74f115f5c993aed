"""Whether Stripe takes the shop's key, by a question that changes nothing."""

from __future__ import annotations

from tidegate.payments.contracts import ProviderRefused
from tidegate.platform.settings import PaymentSettings

NOT_PERMITTED = "403"


async def check_stripe(limits: PaymentSettings) -> bool | None:
    """Whether the key is of Stripe's live mode; None where a restricted key may not ask, but is known.

    Raises: ProviderRefused when Stripe does not take the key; OutcomeUnknown when it could not be asked; StartupError
    when the environment names a proxy that cannot be used.
    """
    from tidegate.payments.stripe_api import Refusal, StripeApi  # the SDK takes a while to import

    api = StripeApi(limits)
    try:
        return (await api.balance()).livemode
    except Refusal as error:
        if NOT_PERMITTED in str(error).split():
            return None
        raise ProviderRefused(str(error)) from error
    finally:
        await api.close()
