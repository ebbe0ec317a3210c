# SPDX-License-Identifier: Apache-2.0
"""How long agents can know the proxy by its certificate, as a condition; pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fodc_kube.conditions import Condition

CONDITION: Final = "CertificateValid"
SOON: Final = timedelta(days=7)
"""As the alert FodcProxyCertificateEnds has it; a renewal is due long before."""
NO_TLS: Final = Condition(CONDITION, "Unknown", "NoTLS", "agents reach the proxy without TLS")


def condition(ends_at: datetime | None, now_ms: int) -> Condition:
    """Return the condition of a proxy with TLS; `ends_at` is None while it has no certificate."""
    if ends_at is None:
        text = "the proxy has no certificate yet: no agent can come in"
        return Condition(CONDITION, "False", "NoCertificate", text)
    now, when = datetime.fromtimestamp(now_ms / 1000, UTC), f"{ends_at:%Y-%m-%d %H:%M} UTC"
    if ends_at <= now:
        text = f"the proxy's certificate ended at {when}: agents refuse it"
        return Condition(CONDITION, "False", "Ended", text)
    if ends_at - now < SOON:
        text = f"the proxy's certificate ends at {when} and was not renewed"
        return Condition(CONDITION, "False", "EndsSoon", text)
    return Condition(CONDITION, "True", "Valid", f"the proxy's certificate ends at {when}")
