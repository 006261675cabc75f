"""What one node takes of the machine: a name for its cgroup and interface, and its addresses."""

from dataclasses import dataclass

SITES = 8


@dataclass(frozen=True, slots=True)
class Site:
    """Everything on the machine that belongs to a node is derived from its number, so that it can be found and removed.

    number   0 <= number < SITES; nodes with different numbers live side by side
    """

    number: int

    @property
    def name(self) -> str:
        """The node's cgroup and the machine's end of its cable."""
        return f"stoker{self.number}"

    @property
    def host_ip(self) -> str:
        """The machine, as the node and its pods see it."""
        return f"10.240.{self.number}.254"

    @property
    def node_ip(self) -> str:
        """The node, as the machine sees it; the API server listens there."""
        return f"10.240.{self.number}.1"

    @property
    def pods(self) -> str:
        """The addresses of real pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def fake_pods(self) -> str:
        """The addresses that kwok's pods claim to have; nothing answers there."""
        return f"10.{160 + self.number}.0.0/16"

    @property
    def services(self) -> str:
        """The addresses of Services."""
        return f"10.{96 + self.number}.0.0/16"

    def service(self, number: int) -> str:
        """One address of a Service: 1 is the API server's, 10 the resolver's."""
        return f"10.{96 + self.number}.0.{number}"
