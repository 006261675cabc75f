"""Names in certificates: whom a peer proves to be. The operator issues them, gateways and workers check them."""

DOMAIN = "stoker.internal"

GATEWAY = f"gateway.{DOMAIN}"
OPERATOR = f"operator.{DOMAIN}"


def worker_identity(deployment_uid: str) -> str:
    """Of every worker of one Deployment."""
    return f"{deployment_uid}.workers.{DOMAIN}"
