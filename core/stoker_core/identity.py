"""Who a process is under mutual TLS: a SPIFFE id, the URI in its certificate's subject alternative name."""

TRUST_DOMAIN = "spiffe://stoker.dev"

GATEWAY = f"{TRUST_DOMAIN}/gateway"
OPERATOR = f"{TRUST_DOMAIN}/operator"


def worker(deployment_uid: str) -> str:
    """Of every worker of one Deployment."""
    return f"{TRUST_DOMAIN}/worker/{deployment_uid}"
