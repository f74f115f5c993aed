"""Payments: charges, refunds, the providers that carry them out and their webhooks."""

from tidegate.payments.books import INVARIANTS
from tidegate.payments.charges import (
    apply_answers,
    ask_charges,
    claim_due,
    load_charges,
    record_first_intents,
    record_intents,
)
from tidegate.payments.contracts import (
    Answer,
    Applied,
    BadSignature,
    Charge,
    ChargeIntent,
    ChargeRef,
    ChargeState,
    Notice,
    OutcomeUnknown,
    PaymentInProgress,
    Provider,
    ProviderRefused,
    Refund,
    RefundAnswer,
    RefundState,
    UnknownProvider,
    UnknownToken,
)
from tidegate.payments.erasing import erase_sandbox, sandbox_orders
from tidegate.payments.providers import (
    Providers,
    ask_provider,
    call_provider,
    check_method,
    end_attempt,
    make_providers,
)
from tidegate.payments.refunds import claim_due_refunds, record_refunds, run_refund
from tidegate.payments.sandbox_webhooks import deliver_sandbox_webhooks_once
from tidegate.payments.stripe_check import check_stripe
from tidegate.payments.webhooks import delete_old_webhooks, mark_applied, receive_webhook, sweep_unapplied_webhooks

__all__ = [
    "INVARIANTS",
    "Answer",
    "Applied",
    "BadSignature",
    "Charge",
    "ChargeIntent",
    "ChargeRef",
    "ChargeState",
    "Notice",
    "OutcomeUnknown",
    "PaymentInProgress",
    "Provider",
    "ProviderRefused",
    "Providers",
    "Refund",
    "RefundAnswer",
    "RefundState",
    "UnknownProvider",
    "UnknownToken",
    "apply_answers",
    "ask_charges",
    "ask_provider",
    "call_provider",
    "check_method",
    "check_stripe",
    "claim_due",
    "claim_due_refunds",
    "delete_old_webhooks",
    "deliver_sandbox_webhooks_once",
    "end_attempt",
    "erase_sandbox",
    "load_charges",
    "make_providers",
    "mark_applied",
    "receive_webhook",
    "record_first_intents",
    "record_intents",
    "record_refunds",
    "run_refund",
    "sandbox_orders",
    "sweep_unapplied_webhooks",
]
