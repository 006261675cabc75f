"""A worker to connect to, as a source of workers knows it."""

from dataclasses import dataclass, replace

from stoker_gateway.routing.table import Endpoint


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a worker before it is asked. An empty field is left to what the worker says.

    address   "unix:PATH" or "host:port"
    identity  the SPIFFE id that its certificate must have; "": any that the authority has signed
    model_id  the only model that is taken from it
    deployment_uid, generation, region, pool, tier  of its deployment and place
    """

    address: str
    identity: str = ""
    model_id: str = ""
    deployment_uid: str = ""
    generation: int = 0
    region: str = ""
    pool: str = ""
    tier: str = ""

    def endpoint(self, told: Endpoint) -> Endpoint | None:
        """What the worker tells of an engine, corrected by what is known of it; None if it may not serve that model.

        A worker whose model was chosen for it has no say in names.
        """
        if self.model_id and told.model.model_id != self.model_id:
            return None
        return replace(
            told,
            aliases=() if self.model_id else told.aliases,
            deployment_uid=self.deployment_uid or told.deployment_uid,
            generation=self.generation or told.generation,
            region=self.region or told.region,
            pool=self.pool or told.pool,
            tier=self.tier or told.tier,
        )
